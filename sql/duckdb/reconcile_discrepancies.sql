-- One row a differing click, batch less stream, in the order of the bill. Where no click accounts
-- for a row's difference, position, click_id and verdicts are null.
copy (
    select partition_id as "partition", record_offset as "offset", click_id,
        make_timestamp(minute_millis * 1000) as click_minute, advertiser_id, campaign_id, ad_id,
        device_type, country_code, cause, clicks::bigint as delta_clicks, micros::bigint as delta_micros,
        stream_verdict, batch_verdict
    from rc_effect
    order by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code, "partition", "offset", cause
) to (getvariable('rc_discrepancies')) (format parquet, compression zstd);
