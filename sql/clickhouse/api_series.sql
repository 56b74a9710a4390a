-- Points of an advertiser: $2 and $3 are seconds, $4 the seconds of a bucket, $5 and $6 a campaign and
-- an ad or empty for all, $7 what points are kept apart by: ad, campaign or none. Those after the
-- point ($8, $9), at most $10. A point of impressions alone is final as far as its rows go.
with minutes as (
    select
        m.click_minute as minute,
        m.campaign_id as campaign_id,
        m.ad_id as ad_id,
        toInt64(m.unique_clicks) as unique_clicks,
        toInt64(m.duplicate_clicks) as duplicate_clicks,
        toInt64(m.invalid_clicks) as invalid_clicks,
        m.spend_micros as spend_micros,
        toInt64(0) as impressions,
        toInt64(m.is_final) as is_final
    from csp_analytics.ad_clicks_hourly as m final
    where m.advertiser_id = $1
        and m.click_minute >= toDateTime($2)
        and m.click_minute < toDateTime($3)
    union all
    select
        i.impression_minute,
        i.campaign_id,
        i.ad_id,
        toInt64(0),
        toInt64(0),
        toInt64(0),
        toInt64(0),
        toInt64(i.unique_impressions),
        toInt64(1)
    from csp_analytics.ad_impressions_hourly as i final
    where i.advertiser_id = $1
        and i.impression_minute >= toDateTime($2)
        and i.impression_minute < toDateTime($3)
)

select
    intDiv(toInt64(toUnixTimestamp(a.minute)), $4) * $4 as bucket,
    multiIf($7 = 'ad', a.ad_id, $7 = 'campaign', a.campaign_id, '') as part,
    sum(a.unique_clicks) as clicks,
    sum(a.duplicate_clicks) as duplicates,
    sum(a.invalid_clicks) as invalid,
    sum(a.spend_micros) as spend,
    min(a.is_final) as is_all_final,
    sum(a.impressions) as shown
from minutes as a
where ($5 = '' or a.campaign_id = $5)
    and ($6 = '' or a.ad_id = $6)
    and (bucket > $8 or bucket = $8 and part > $9)
group by bucket, part
order by bucket, part
limit $10;
