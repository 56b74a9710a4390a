-- Clicks of an ad in event order, with what both layers have against them.
-- Arguments: ad_id, first and last event time in microseconds.
with near as (
    select
        "partition"::integer as partition_id, "offset"::bigint as record_offset,
        epoch_ms(event_time)::bigint as event_millis, click_id, coalesce(user_id, '') as user_id,
        coalesce(ip_address, '') as ip_address
    from clicks
    where ad_id = $1::varchar
        and event_time >= make_timestamptz($2::bigint) and event_time <= make_timestamptz($3::bigint)
), decided as (
    select
        "partition"::integer as partition_id, "offset"::bigint as record_offset,
        arg_max(verdict, log_offset) as verdict, arg_max(is_late, log_offset) as is_late
    from decisions
    where event_time >= make_timestamptz($2::bigint) and event_time <= make_timestamptz($3::bigint)
    group by partition_id, record_offset
)
select
    n.partition_id, n.record_offset, n.event_millis, n.click_id, n.user_id, n.ip_address,
    coalesce(j.verdict, '') as batch_verdict, coalesce(d.verdict, '') as stream_verdict,
    coalesce(d.is_late, false) as is_late
from near as n
left join explain_judged as j
    on j.partition_id = n.partition_id and j.record_offset = n.record_offset
left join decided as d
    on d.partition_id = n.partition_id and d.record_offset = n.record_offset
order by n.event_millis, n.partition_id, n.record_offset;
