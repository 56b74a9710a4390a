-- The rows of the Parquet file $1, of the shape of serving_export.sql, in the order of the file.
select
    epoch_ms(click_minute)::bigint, advertiser_id, campaign_id, ad_id, device_type, country_code, raw_clicks,
    duplicate_clicks, invalid_clicks, unique_clicks, spend_micros, version, is_final
from read_parquet($1, file_row_number = true)
order by file_row_number;
