create temporary view minutes as
select
    null::timestamp as click_minute, null::varchar as advertiser_id, null::varchar as campaign_id,
    null::varchar as ad_id, null::varchar as device_type, null::varchar as country_code,
    null::bigint as raw_clicks, null::bigint as duplicate_clicks, null::bigint as invalid_clicks,
    null::bigint as unique_clicks, null::bigint as spend_micros, null::date as dt,
    null::integer as rev
where false;
