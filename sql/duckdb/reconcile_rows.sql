-- Rows of both layers below the cut.
create temporary view rc_batch_row as
select epoch_ms(click_minute) as minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
    raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros
from read_parquet(getvariable('rc_batch_minutes'))
where epoch_ms(click_minute) < getvariable('rc_cut');

create temporary view rc_stream_row as
select epoch_ms(click_minute) as minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
    raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros
from read_parquet(getvariable('rc_stream_minutes'))
where epoch_ms(click_minute) < getvariable('rc_cut');

-- Nearly all rows are equal, and a join of them all by six columns is what would take longest. So they
-- are put into buckets by their key, and a bucket is equal if the hashes of its rows are. Should two
-- different rows have one hash of 64 bits, their difference has no cause, and the sums by advertiser,
-- which are of all rows, do not add up: nothing is posted then.
create temporary table rc_bucket as
with hashed as (
    select hash(minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code) as key_hash,
        unique_clicks, spend_micros
    from rc_batch_row
    union all
    select hash(minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code),
        unique_clicks, spend_micros
    from rc_stream_row
)
select key_hash & 65535 as bucket
from hashed
group by bucket
having bit_xor(hash(key_hash, unique_clicks, spend_micros)) != 0;

-- Rows that bill differently, side by side: each of their clicks is looked at.
create temporary table rc_diff as
with batch as (
    select r.* from rc_batch_row as r
    semi join rc_bucket as b
        on b.bucket = hash(minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code) & 65535
),
stream as (
    select r.* from rc_stream_row as r
    semi join rc_bucket as b
        on b.bucket = hash(minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code) & 65535
),
joined as (
    select minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code,
        coalesce(b.unique_clicks, 0) as batch_clicks, coalesce(b.spend_micros, 0) as batch_micros,
        coalesce(s.raw_clicks, 0) as stream_raw, coalesce(s.unique_clicks, 0) as stream_clicks,
        coalesce(s.spend_micros, 0) as stream_micros
    from batch as b
    full join stream as s using (minute_millis, advertiser_id, campaign_id, ad_id, device_type, country_code)
)
select * from joined
where batch_clicks != stream_clicks or batch_micros != stream_micros;
