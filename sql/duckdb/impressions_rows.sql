-- Impressions of minutes in [$1, $2), in key order.
select
    impression_minute, advertiser_id, campaign_id, ad_id, device_type, country_code, raw_impressions,
    unique_impressions, version
from csp_analytics.ad_impressions_hourly
where impression_minute >= $1 and impression_minute < $2
order by all;
