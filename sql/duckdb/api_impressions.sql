-- Impressions of an advertiser, with the parameters of api_series.
with minutes as (
    select
        epoch(impression_minute)::bigint // $4::bigint * $4::bigint as bucket,
        case $7::varchar when 'ad' then ad_id when 'campaign' then campaign_id else '' end as part,
        unique_impressions
    from csp_analytics.ad_impressions_hourly
    where advertiser_id = $1::varchar
        and impression_minute >= make_timestamp($2::bigint * 1000000)
        and impression_minute < make_timestamp($3::bigint * 1000000)
        and ($5::varchar = '' or campaign_id = $5::varchar)
        and ($6::varchar = '' or ad_id = $6::varchar)
)
select bucket, part, sum(unique_impressions)::bigint as impressions
from minutes
where bucket > $8::bigint or bucket = $8::bigint and part > $9::varchar
group by bucket, part
order by bucket, part
limit $10::bigint;
