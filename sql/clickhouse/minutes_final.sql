-- The way in for final rows: nothing is kept here, ad_clicks_hourly_from_final passes them on.
create table if not exists csp_analytics.minutes_final (
    click_minute DateTime,
    advertiser_id String,
    campaign_id String,
    ad_id String,
    device_type LowCardinality(String),
    country_code LowCardinality(String),
    raw_clicks UInt32,
    duplicate_clicks UInt32,
    invalid_clicks UInt32,
    unique_clicks UInt32,
    spend_micros Int64,
    version UInt64
) engine = Null;
