-- What a reconciliation wrote down of an advertiser's minute, in the order of its file; a position
-- of -1 is a difference of the row that no click accounts for.
-- Arguments: discrepancies.parquet, advertiser_id, the minute in milliseconds.
select
    coalesce("partition", -1)::integer as partition_id, coalesce("offset", -1)::bigint as record_offset,
    campaign_id, ad_id, device_type, country_code, cause, delta_clicks, delta_micros
from read_parquet($1::varchar, hive_partitioning = false)
where advertiser_id = $2::varchar and click_minute = make_timestamp($3::bigint * 1000)
order by campaign_id, ad_id, device_type, country_code, partition_id, record_offset, cause;
