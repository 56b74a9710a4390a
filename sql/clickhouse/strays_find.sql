-- Provisional rows that readers can see below their day's cut, by day and partition, in days from a
-- second on: rows that were on their way in while the cut was set.
with final_cuts as (
    select
        day_start,
        max(cut_at) as final_until
    from csp_analytics.final_days
    where day_start >= toDateTime({from:UInt32})
    group by day_start
)
select
    toUnixTimestamp(d.day_start) as day_second,
    toUnixTimestamp(any(d.final_until)) as cut_second,
    h._partition_id as partition
from csp_analytics.ad_clicks_hourly as h
inner join final_cuts as d on toStartOfDay(h.click_minute, 'UTC') = d.day_start
where h.click_minute >= toDateTime({from:UInt32})
    and not h.is_final
    and h.click_minute < d.final_until
group by d.day_start, h._partition_id
order by day_second, partition;
