-- All copies of a click_id in the archive, the first recorded first. Arguments: click_id, most rows.
select
    "partition"::integer as partition_id, "offset"::bigint as record_offset,
    epoch_us(received_at)::bigint as received_micros, epoch_ms(event_time)::bigint as event_millis,
    coalesce(ad_id, ''), coalesce(advertiser_id, ''), coalesce(campaign_id, ''), coalesce(user_id, ''),
    coalesce(ip_address, ''), coalesce(user_agent, ''), coalesce(referrer, ''),
    coalesce(device_type, ''), coalesce(country_code, ''), cost_micros::bigint,
    "timestamp"::bigint as sent_timestamp, cost_per_click::double as sent_cost
from clicks
where click_id = $1::varchar
order by received_micros, partition_id, record_offset
limit $2::bigint;
