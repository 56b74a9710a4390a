create temporary view audit_archived as
select
    0::integer as "partition", 0::bigint as "offset", now() as received_at, '' as click_id,
    '' as ad_id, '' as advertiser_id, '' as campaign_id, '' as user_id, '' as ip_address,
    '' as user_agent, '' as device_type, '' as country_code, 0::bigint as "timestamp",
    0::double as cost_per_click
where false;
