-- A batch result's rows of an advertiser's minute, in key order.
-- Arguments: minutes.parquet, advertiser_id, the minute in milliseconds.
select
    campaign_id, ad_id, device_type, country_code, raw_clicks, duplicate_clicks, invalid_clicks,
    unique_clicks, spend_micros
from read_parquet($1::varchar, hive_partitioning = false)
where advertiser_id = $2::varchar and click_minute = make_timestamp($3::bigint * 1000)
order by campaign_id, ad_id, device_type, country_code;
