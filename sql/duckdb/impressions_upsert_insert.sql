insert into csp_analytics.ad_impressions_hourly
select
    click_minute, ad_id, advertiser_id, campaign_id, device_type, country_code, raw_clicks,
    unique_clicks, version
from stage;
