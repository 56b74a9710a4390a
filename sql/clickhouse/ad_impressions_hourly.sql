-- Impressions, of the shape of ad_clicks_hourly, without what costs money.
create table if not exists csp_analytics.ad_impressions_hourly (
    impression_minute DateTime,
    ad_id String,
    advertiser_id String,
    campaign_id String,
    device_type LowCardinality(String),
    country_code LowCardinality(String),
    raw_impressions UInt32,
    unique_impressions UInt32,
    version UInt64
) engine = ReplacingMergeTree(version)
partition by toYYYYMM(impression_minute)
primary key (advertiser_id, impression_minute)
order by (advertiser_id, impression_minute, campaign_id, ad_id, device_type, country_code)
settings fsync_after_insert = 1, fsync_part_directory = 1;
