insert into csp_analytics.minutes_provisional (
    click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code,
    raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros, version
)
