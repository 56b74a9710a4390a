-- Passes every provisional row on to what readers see, less those below their day's cut: there
-- only final rows count. total_spend is rounded half to even, in integers throughout.
create materialized view if not exists csp_analytics.ad_clicks_hourly_from_provisional
to csp_analytics.ad_clicks_hourly as
with final_cuts as (
    select
        day_start,
        max(cut_at) as final_until
    from csp_analytics.final_days
    group by day_start
)
select
    p.click_minute as click_minute,
    p.ad_id as ad_id,
    p.advertiser_id as advertiser_id,
    p.campaign_id as campaign_id,
    p.device_type as device_type,
    p.country_code as country_code,
    p.raw_clicks as raw_clicks,
    p.unique_clicks as unique_clicks,
    cast(intDiv(p.spend_micros, 100) + if(
        p.spend_micros % 100 > 50 or (p.spend_micros % 100 = 50 and intDiv(p.spend_micros, 100) % 2 = 1), 1, 0
    ) as Decimal(18, 0)) * toDecimal64('0.0001', 4) as total_spend,
    p.version as version,
    p.duplicate_clicks as duplicate_clicks,
    p.invalid_clicks as invalid_clicks,
    p.spend_micros as spend_micros,
    false as is_final
from csp_analytics.minutes_provisional as p
left any join final_cuts as d on toStartOfDay(p.click_minute, 'UTC') = d.day_start
where p.click_minute >= ifNull(d.final_until, toDateTime(0));
