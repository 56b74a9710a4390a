-- Rows of minutes in [$1, $2) milliseconds as a reader sees them, for export. $3 is the layer:
-- 'current', 'provisional' or 'final'; the two layers not asked for are pruned.
create or replace macro csp_analytics.rows_between(layer, from_millis, to_millis) as table
with layered as (
    select
        click_minute, advertiser_id, campaign_id, ad_id, device_type, country_code, raw_clicks,
        duplicate_clicks, invalid_clicks, unique_clicks, spend_micros, version, is_final
    from csp_analytics.ad_clicks_hourly
    where layer = 'current'
    union all
    select *, false from csp_analytics.minutes_provisional where layer = 'provisional'
    union all
    select *, true from csp_analytics.minutes_final where layer = 'final'
)
select
    click_minute at time zone 'UTC' as click_minute,
    advertiser_id,
    campaign_id,
    ad_id,
    device_type,
    country_code,
    raw_clicks::bigint as raw_clicks,
    duplicate_clicks::bigint as duplicate_clicks,
    invalid_clicks::bigint as invalid_clicks,
    unique_clicks::bigint as unique_clicks,
    spend_micros,
    version,
    is_final
from layered
where click_minute >= make_timestamp(from_millis * 1000)
    and click_minute < make_timestamp(to_millis * 1000);
