-- Writes the rows of minutes in [$1, $2) once more, an advertiser's rows side by side. Those written before
-- are deleted in the same transaction.
insert into csp_analytics.ad_impressions_hourly
select *
from csp_analytics.ad_impressions_hourly
where impression_minute >= $1 and impression_minute < $2
order by advertiser_id, impression_minute, campaign_id, ad_id, device_type, country_code;
