-- The day's rows, as minutes.parquet has them: the whole job in SQL, also as a benchmark.
copy (
    select
        to_timestamp(event_millis // 60000 * 60) as click_minute,
        advertiser_id,
        campaign_id,
        ad_id,
        device_type,
        country_code,
        count(*) as raw_clicks,
        count(*) filter (where verdict = 'duplicate') as duplicate_clicks,
        count(*) filter (where verdict = 'invalid') as invalid_clicks,
        count(*) filter (where verdict = 'billable') as unique_clicks,
        coalesce(sum(micros) filter (where verdict = 'billable'), 0)::bigint as spend_micros
    from audit_verdict
    group by all
    order by all
) to (getvariable('audit_minutes_path')) (format parquet, compression zstd);
