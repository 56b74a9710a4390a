-- Points of an advertiser: $2 and $3 are seconds, $4 the seconds of a bucket, $5 and $6 a campaign and
-- an ad or empty for all, $7 what points are kept apart by: ad, campaign or none. Those after the
-- point ($8, $9), at most $10.
with minutes as (
    select
        epoch(click_minute)::bigint // $4::bigint * $4::bigint as bucket,
        case $7::varchar when 'ad' then ad_id when 'campaign' then campaign_id else '' end as part,
        unique_clicks, duplicate_clicks, invalid_clicks, spend_micros, is_final
    from csp_analytics.minutes_now
    where advertiser_id = $1::varchar
        and click_minute >= make_timestamp($2::bigint * 1000000)
        and click_minute < make_timestamp($3::bigint * 1000000)
        and ($5::varchar = '' or campaign_id = $5::varchar)
        and ($6::varchar = '' or ad_id = $6::varchar)
)
select
    bucket,
    part,
    sum(unique_clicks)::bigint as clicks,
    sum(duplicate_clicks)::bigint as duplicate_clicks,
    sum(invalid_clicks)::bigint as invalid_clicks,
    sum(spend_micros)::bigint as spend_micros,
    bool_and(is_final) as is_final
from minutes
where bucket > $8::bigint or bucket = $8::bigint and part > $9::varchar
group by bucket, part
order by bucket, part
limit $10::bigint;
