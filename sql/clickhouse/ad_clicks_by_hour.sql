-- Sums by hour (UTC), right at any moment while rows are replaced: over the rows as they are merged, not
-- over what was ever inserted. A filter on click_hour and advertiser_id reads only what it needs.
create view if not exists csp_analytics.ad_clicks_by_hour as
select
    toStartOfHour(m.click_minute, 'UTC') as click_hour,
    m.advertiser_id as advertiser_id,
    m.campaign_id as campaign_id,
    m.ad_id as ad_id,
    m.device_type as device_type,
    m.country_code as country_code,
    sum(m.raw_clicks) as raw_clicks,
    sum(m.unique_clicks) as unique_clicks,
    sum(m.duplicate_clicks) as duplicate_clicks,
    sum(m.invalid_clicks) as invalid_clicks,
    sum(m.spend_micros) as spend_micros,
    min(m.is_final) as is_final
from csp_analytics.ad_clicks_hourly as m final
group by click_hour, advertiser_id, campaign_id, ad_id, device_type, country_code;
