insert into csp_analytics.ad_impressions_hourly (
    impression_minute, advertiser_id, campaign_id, ad_id, device_type, country_code,
    raw_impressions, unique_impressions, version
)
