-- What the stream published, all of it and for good: a reconciliation can be repeated on the same
-- figures after final rows were published. In the order in which it is read: by range of minutes.
create table if not exists csp_analytics.minutes_provisional (
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
) engine = ReplacingMergeTree(version)
partition by toDate(click_minute, 'UTC')
order by (click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code)
settings fsync_after_insert = 1, fsync_part_directory = 1;
