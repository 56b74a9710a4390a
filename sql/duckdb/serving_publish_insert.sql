insert into csp_analytics.minutes_final
select *
from stage
order by click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code;
