-- The days that begin in [$1, $2) seconds and are final below a cut.
select epoch(day_start)::bigint as day_start, epoch(max(cut_at))::bigint as cut_at
from csp_analytics.final_days
where day_start >= make_timestamp($1::bigint * 1000000) and day_start < make_timestamp($2::bigint * 1000000)
group by day_start
order by day_start;
