-- Points of an advertiser: $2 and $3 are seconds, $4 the seconds of a bucket, $5 and $6 a campaign and
-- an ad or empty for all, $7 what points are kept apart by: ad, campaign or none. Those after the
-- point ($8, $9), at most $10.
select
    intDiv(toInt64(toUnixTimestamp(m.click_minute)), $4) * $4 as bucket,
    multiIf($7 = 'ad', m.ad_id, $7 = 'campaign', m.campaign_id, '') as part,
    toInt64(sum(m.unique_clicks)) as clicks,
    toInt64(sum(m.duplicate_clicks)) as duplicate_clicks,
    toInt64(sum(m.invalid_clicks)) as invalid_clicks,
    sum(m.spend_micros) as spend_micros,
    min(m.is_final) as is_final
from csp_analytics.ad_clicks_hourly as m final
where m.advertiser_id = $1
    and m.click_minute >= toDateTime($2)
    and m.click_minute < toDateTime($3)
    and ($5 = '' or m.campaign_id = $5)
    and ($6 = '' or m.ad_id = $6)
    and (bucket > $8 or bucket = $8 and part > $9)
group by bucket, part
order by bucket, part
limit $10;
