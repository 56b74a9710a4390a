-- Rows on their way in. Temporary: no log is written for it.
create temporary table if not exists stage (
    click_minute timestamp,
    advertiser_id varchar,
    campaign_id varchar,
    ad_id varchar,
    device_type varchar,
    country_code varchar,
    raw_clicks uinteger,
    duplicate_clicks uinteger,
    invalid_clicks uinteger,
    unique_clicks uinteger,
    spend_micros bigint,
    version ubigint
);
