-- Rows of minutes in [from, to) seconds, in key order.
select
    toUnixTimestamp(click_minute), advertiser_id, campaign_id, ad_id, device_type, country_code,
    raw_clicks, duplicate_clicks, invalid_clicks, unique_clicks, spend_micros, version, is_final
from csp_analytics.ad_clicks_hourly final
where click_minute >= toDateTime({from:UInt32})
    and click_minute < toDateTime({to:UInt32})
order by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code;
