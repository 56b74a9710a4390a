-- Points of an advertiser: $2 and $3 are seconds, $4 the seconds of a bucket, $5 and $6 a campaign and
-- an ad or empty for all, $7 what points are kept apart by: ad, campaign or none. Those after the
-- point ($8, $9), at most $10. A point of impressions alone is final as far as its rows go.
with minutes as (
    select
        click_minute, campaign_id, ad_id, unique_clicks, duplicate_clicks, invalid_clicks, spend_micros,
        0 as impressions, is_final
    from csp_analytics.minutes_now
    where advertiser_id = $1::varchar
        and click_minute >= make_timestamp($2::bigint * 1000000)
        and click_minute < make_timestamp($3::bigint * 1000000)
    union all
    select impression_minute, campaign_id, ad_id, 0, 0, 0, 0, unique_impressions, true
    from csp_analytics.ad_impressions_hourly
    where advertiser_id = $1::varchar
        and impression_minute >= make_timestamp($2::bigint * 1000000)
        and impression_minute < make_timestamp($3::bigint * 1000000)
),

sums as (
    select
        epoch_ms(click_minute) // ($4::bigint * 1000) as slot,
        case $7::varchar when 'ad' then ad_id when 'campaign' then campaign_id else '' end as part,
        sum(unique_clicks)::bigint as clicks,
        sum(duplicate_clicks)::bigint as duplicate_clicks,
        sum(invalid_clicks)::bigint as invalid_clicks,
        sum(spend_micros)::bigint as spend_micros,
        bool_and(is_final) as is_final,
        sum(impressions)::bigint as impressions
    from minutes
    where ($5::varchar = '' or campaign_id = $5::varchar)
        and ($6::varchar = '' or ad_id = $6::varchar)
    group by slot, part
)

select
    slot * $4::bigint as bucket,
    part,
    clicks,
    duplicate_clicks,
    invalid_clicks,
    spend_micros,
    is_final,
    impressions
from sums
where slot * $4::bigint > $8::bigint or slot * $4::bigint = $8::bigint and part > $9::varchar
order by bucket, part
limit $10::bigint;
