-- Removes the stored rows that staged ones replace. $1, $2: the staged minutes' bounds.
delete from csp_analytics.ad_impressions_hourly as p
using stage as s
where p.impression_minute between $1 and $2
    and p.impression_minute = s.click_minute
    and p.ad_id = s.ad_id
    and p.advertiser_id = s.advertiser_id
    and p.campaign_id = s.campaign_id
    and p.device_type = s.device_type
    and p.country_code = s.country_code;
