-- The end of the first minutes from $1 on that hold $2 rows, none of the newest $3 minutes among them; null
-- where there are not so many.
with minutes as (
    select impression_minute, count(*) as row_count
    from csp_analytics.ad_impressions_hourly
    where impression_minute >= $1::timestamp
        and impression_minute <= (
            select max(impression_minute) - to_minutes($3::bigint)
            from csp_analytics.ad_impressions_hourly
        )
    group by impression_minute
),

so_far as (
    select impression_minute, sum(row_count) over (order by impression_minute) as row_count
    from minutes
)

select min(impression_minute) + interval 1 minute as until_minute
from so_far
where row_count >= $2::bigint;
