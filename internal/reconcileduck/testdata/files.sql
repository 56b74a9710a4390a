-- What both layers and the archive would hold of those clicks.
create temporary macro minutes(layer) as table
select make_timestamp((event_millis - event_millis % 60000) * 1000) as click_minute, advertiser_id, '' as campaign_id, ad_id,
    '' as device_type, '' as country_code, count(*) as raw_clicks,
    count(*) filter (where verdict = 'duplicate') as duplicate_clicks,
    count(*) filter (where verdict = 'invalid') as invalid_clicks,
    count(*) filter (where verdict = 'billable') as unique_clicks,
    coalesce(sum(cost_micros) filter (where verdict = 'billable'), 0)::bigint as spend_micros
from (select *, if(layer = 'stream', stream_verdict, batch_verdict) as verdict from click)
where verdict in ('billable', 'duplicate', 'invalid')
group by all;
copy (select * from minutes('stream')) to (getvariable('dir') || '/stream.parquet') (format parquet);
copy (select * from minutes('batch')) to (getvariable('dir') || '/batch.parquet') (format parquet);
copy (
    select "partition", "offset", click_id, batch_verdict as verdict,
        if(winner_offset is null, null, 0) as winner_partition, winner_offset
    from click where batch_verdict in ('duplicate', 'invalid')
) to (getvariable('dir') || '/batch_decisions.parquet') (format parquet);
copy (
    select "partition", "offset", 'bad_cost' as reason from click where batch_verdict = 'dead_letter'
) to (getvariable('dir') || '/dead_letters.parquet') (format parquet);
copy (
    select 0 as log_partition, "offset" as log_offset, "partition", "offset", click_id,
        make_timestamp(event_millis * 1000) as event_time, stream_verdict as verdict, is_late, 'p1' as policy_hash
    from click where stream_verdict in ('duplicate', 'invalid', 'late') or is_late
) to (getvariable('dir') || '/decisions.parquet') (format parquet);
copy (
    select "partition", "offset", make_timestamp(received_millis * 1000) as received_at,
        make_timestamp(event_millis * 1000) as event_time, click_id, ad_id, advertiser_id, '' as campaign_id,
        '' as user_id, ip_address, '' as device_type, '' as country_code, cost_micros
    from click where is_archived
) to (getvariable('dir') || '/clicks.parquet') (format parquet);
