-- An advertiser's rows lie side by side.
insert into csp_analytics.minutes_final
select *
from stage
order by advertiser_id, click_minute, campaign_id, ad_id, device_type, country_code;
