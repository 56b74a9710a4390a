-- The campaigns or ads ($4: campaign or ad) of an advertiser with the highest spend in [$2, $3) seconds,
-- of the campaign $5 if it is not empty, at most $6.
with minutes as (
    select
        case $4::varchar when 'ad' then ad_id else campaign_id end as part,
        unique_clicks, duplicate_clicks, invalid_clicks, spend_micros
    from csp_analytics.minutes_now
    where advertiser_id = $1::varchar
        and click_minute >= make_timestamp($2::bigint * 1000000)
        and click_minute < make_timestamp($3::bigint * 1000000)
        and ($5::varchar = '' or campaign_id = $5::varchar)
)
select
    part,
    sum(unique_clicks)::bigint as clicks,
    sum(duplicate_clicks)::bigint as duplicate_clicks,
    sum(invalid_clicks)::bigint as invalid_clicks,
    sum(spend_micros)::bigint as spend_micros
from minutes
group by part
order by sum(spend_micros) desc, sum(unique_clicks) desc, part
limit $6::bigint;
