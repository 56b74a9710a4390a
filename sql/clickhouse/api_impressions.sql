-- Impressions of an advertiser, with the parameters of api_series.
select
    intDiv(toInt64(toUnixTimestamp(m.impression_minute)), $4) * $4 as bucket,
    multiIf($7 = 'ad', m.ad_id, $7 = 'campaign', m.campaign_id, '') as part,
    toInt64(sum(m.unique_impressions)) as impressions
from csp_analytics.ad_impressions_hourly as m final
where m.advertiser_id = $1
    and m.impression_minute >= toDateTime($2)
    and m.impression_minute < toDateTime($3)
    and ($5 = '' or m.campaign_id = $5)
    and ($6 = '' or m.ad_id = $6)
    and (bucket > $8 or bucket = $8 and part > $9)
group by bucket, part
order by bucket, part
limit $10;
