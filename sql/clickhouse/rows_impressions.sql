-- Impressions of minutes in [from, to) seconds, in key order and in the columns of rows_provisional.
select
    toUnixTimestamp(impression_minute), advertiser_id, campaign_id, ad_id, device_type,
    country_code, raw_impressions, toUInt32(0), toUInt32(0), unique_impressions, toInt64(0), version,
    false
from csp_analytics.ad_impressions_hourly final
where impression_minute >= toDateTime({from:UInt32})
    and impression_minute < toDateTime({to:UInt32})
order by impression_minute, advertiser_id, campaign_id, ad_id, device_type, country_code;
