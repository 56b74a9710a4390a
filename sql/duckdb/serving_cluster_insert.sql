-- Writes the rows of minutes in [$1, $2) once more, an advertiser's rows side by side. Those written before
-- are deleted in the same transaction.
insert into csp_analytics.minutes_provisional
select *
from csp_analytics.minutes_provisional
where click_minute >= $1 and click_minute < $2
order by advertiser_id, click_minute, campaign_id, ad_id, device_type, country_code;
