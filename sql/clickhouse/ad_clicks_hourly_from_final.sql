-- Passes final rows on to what readers see. total_spend is rounded half to even, in integers throughout.
create materialized view if not exists csp_analytics.ad_clicks_hourly_from_final
to csp_analytics.ad_clicks_hourly as
select
    f.click_minute as click_minute,
    f.ad_id as ad_id,
    f.advertiser_id as advertiser_id,
    f.campaign_id as campaign_id,
    f.device_type as device_type,
    f.country_code as country_code,
    f.raw_clicks as raw_clicks,
    f.unique_clicks as unique_clicks,
    cast(intDiv(f.spend_micros, 100) + if(
        f.spend_micros % 100 > 50 or (f.spend_micros % 100 = 50 and intDiv(f.spend_micros, 100) % 2 = 1), 1, 0
    ) as Decimal(18, 0)) * toDecimal64('0.0001', 4) as total_spend,
    f.version as version,
    f.duplicate_clicks as duplicate_clicks,
    f.invalid_clicks as invalid_clicks,
    f.spend_micros as spend_micros,
    true as is_final
from csp_analytics.minutes_final as f;
