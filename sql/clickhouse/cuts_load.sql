-- The cuts of days from a second on.
select
    toUnixTimestamp(day_start) as day_second,
    toUnixTimestamp(max(cut_at)) as cut_second
from csp_analytics.final_days
where day_start >= toDateTime({from:UInt32})
group by day_start
order by day_start;
