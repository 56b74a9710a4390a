create temporary view clicks as
select
    null::integer as "partition", null::bigint as "offset", null::timestamptz as received_at,
    null::timestamptz as event_time, null::varchar as click_id, null::varchar as ad_id,
    null::varchar as advertiser_id, null::varchar as campaign_id, null::varchar as user_id,
    null::bigint as cost_micros, null::varchar as ip_address, null::varchar as user_agent,
    null::varchar as referrer, null::varchar as device_type, null::varchar as country_code,
    null::bigint as "timestamp", null::double as cost_per_click, null::date as dt,
    null::varchar as hr, null::varchar as p
where false;
