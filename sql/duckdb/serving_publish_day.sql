-- A day's cut never goes back. $1: the day, $2: the cut.
merge into csp_analytics.final_days as d
using (select $1::timestamp as day_start, $2::timestamp as cut_at) as n
on d.day_start = n.day_start
when matched then update set cut_at = greatest(d.cut_at, n.cut_at)
when not matched then insert values (n.day_start, n.cut_at);
