-- The end of the first minutes from $1 on that hold $2 rows, none of the newest $3 minutes among them; null
-- where there are not so many.
with minutes as (
    select click_minute, count(*) as row_count
    from csp_analytics.minutes_provisional
    where click_minute >= $1::timestamp
        and click_minute <= (
            select max(click_minute) - to_minutes($3::bigint)
            from csp_analytics.minutes_provisional
        )
    group by click_minute
),

so_far as (
    select click_minute, sum(row_count) over (order by click_minute) as row_count
    from minutes
)

select min(click_minute) + interval 1 minute as until_minute
from so_far
where row_count >= $2::bigint;
