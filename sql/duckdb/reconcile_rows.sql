-- Rows of both layers below the cut, side by side.
create temporary table rc_row as
with batch as (
    select epoch_ms(click_minute) as minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
        raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros
    from read_parquet(getvariable('rc_batch_minutes'))
    where epoch_ms(click_minute) < getvariable('rc_cut')
),
stream as (
    select epoch_ms(click_minute) as minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
        raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros
    from read_parquet(getvariable('rc_stream_minutes'))
    where epoch_ms(click_minute) < getvariable('rc_cut')
)
select minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
    coalesce(b.raw_clicks, 0) as batch_raw, coalesce(b.duplicate_clicks, 0) as batch_duplicates,
    coalesce(b.invalid_clicks, 0) as batch_invalid, coalesce(b.unique_clicks, 0) as batch_clicks,
    coalesce(b.spend_micros, 0) as batch_micros,
    coalesce(s.raw_clicks, 0) as stream_raw, coalesce(s.duplicate_clicks, 0) as stream_duplicates,
    coalesce(s.invalid_clicks, 0) as stream_invalid, coalesce(s.unique_clicks, 0) as stream_clicks,
    coalesce(s.spend_micros, 0) as stream_micros
from batch as b
full join stream as s using (minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code);

-- Rows that bill differently: each of their clicks is looked at.
create temporary table rc_diff as
select * from rc_row
where batch_clicks != stream_clicks or batch_micros != stream_micros;
