-- An advertiser's archived clicks of a span of event time, in the order of the bill, with what both
-- layers have against them. Arguments: advertiser_id, first event time and the end in microseconds.
with inside as (
    select
        "partition"::integer as partition_id, "offset"::bigint as record_offset,
        epoch_us(received_at)::bigint as received_micros, epoch_ms(event_time)::bigint as event_millis,
        click_id, campaign_id, ad_id, coalesce(device_type, '') as device_type,
        coalesce(country_code, '') as country_code, cost_micros::bigint as cost_micros
    from clicks
    where advertiser_id = $1::varchar
        and event_time >= make_timestamptz($2::bigint) and event_time < make_timestamptz($3::bigint)
), decided as (
    select
        "partition"::integer as partition_id, "offset"::bigint as record_offset,
        arg_max(verdict, log_offset) as verdict, arg_max(coalesce(rules, ''), log_offset) as rules,
        arg_max(is_late, log_offset) as is_late
    from decisions
    where event_time >= make_timestamptz($2::bigint) and event_time < make_timestamptz($3::bigint)
    group by partition_id, record_offset
)
select
    i.partition_id, i.record_offset, i.received_micros, i.event_millis, i.click_id, i.campaign_id,
    i.ad_id, i.device_type, i.country_code, i.cost_micros,
    coalesce(j.verdict, '') as batch_verdict, coalesce(j.rules, '') as batch_rules,
    coalesce(j.reason, '') as batch_reason, coalesce(d.verdict, '') as stream_verdict,
    coalesce(d.rules, '') as stream_rules, coalesce(d.is_late, false) as is_late
from inside as i
left join explain_judged as j
    on j.partition_id = i.partition_id and j.record_offset = i.record_offset
left join decided as d
    on d.partition_id = i.partition_id and d.record_offset = i.record_offset
order by i.campaign_id, i.ad_id, i.device_type, i.country_code, i.event_millis, i.partition_id,
    i.record_offset;
