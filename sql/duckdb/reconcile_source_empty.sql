create temporary view rc_archived as
select 0::integer as partition_id, 0::bigint as record_offset, 0::bigint as received_micros, 0::bigint as event_millis,
    '' as click_id, '' as ad_id, '' as advertiser_id, '' as campaign_id, '' as user_id, '' as ip_address,
    '' as device_type, '' as country_code, 0::bigint as cost_micros
where false;
