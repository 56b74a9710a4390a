-- The days that begin in [$1, $2) seconds and are final below a cut.
select toInt64(toUnixTimestamp(d.day_start)) as day_at, toInt64(toUnixTimestamp(max(d.cut_at))) as final_at
from csp_analytics.final_days as d
where d.day_start >= toDateTime($1) and d.day_start < toDateTime($2)
group by day_at
order by day_at;
