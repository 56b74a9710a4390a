-- The serving table of the lesson, with its exact columns, engine and keys; four columns follow.
create table if not exists csp_analytics.ad_clicks_hourly (
    click_minute DateTime,
    ad_id String,
    advertiser_id String,
    campaign_id String,
    device_type LowCardinality(String),
    country_code LowCardinality(String),
    raw_clicks UInt32,
    unique_clicks UInt32,
    total_spend Decimal64(4),
    version UInt64, -- Incremented value for ReplacingMergeTree reconciliation
    duplicate_clicks UInt32,
    invalid_clicks UInt32,
    spend_micros Int64,
    is_final Bool
) engine = ReplacingMergeTree(version)
partition by toYYYYMM(click_minute)
primary key (advertiser_id, click_minute)
order by (advertiser_id, click_minute, campaign_id, ad_id, device_type, country_code);
