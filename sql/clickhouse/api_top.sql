-- The campaigns or ads ($4: campaign or ad) of an advertiser with the highest spend in [$2, $3) seconds,
-- of the campaign $5 if it is not empty, at most $6.
select
    multiIf($4 = 'ad', m.ad_id, m.campaign_id) as part,
    toInt64(sum(m.unique_clicks)) as clicks,
    toInt64(sum(m.duplicate_clicks)) as duplicates,
    toInt64(sum(m.invalid_clicks)) as invalid,
    sum(m.spend_micros) as spend
from csp_analytics.ad_clicks_hourly as m final
where m.advertiser_id = $1
    and m.click_minute >= toDateTime($2)
    and m.click_minute < toDateTime($3)
    and ($5 = '' or m.campaign_id = $5)
group by part
order by spend desc, clicks desc, part
limit $6;
