-- Drops staged rows that are older than the stored ones. $1, $2: the staged minutes' bounds.
delete from stage as s
using csp_analytics.ad_impressions_hourly as p
where p.impression_minute between $1 and $2
    and p.impression_minute = s.click_minute
    and p.ad_id = s.ad_id
    and p.advertiser_id = s.advertiser_id
    and p.campaign_id = s.campaign_id
    and p.device_type = s.device_type
    and p.country_code = s.country_code
    and p.version > s.version;
