-- $1 first and $2 last day of a month: its days that no settlement covers to their end; none where the
-- month is closed.
select to_char(d.day, 'YYYY-MM-DD') as billing_date
from generate_series($1::date, $2::date, interval '1 day') as d (day)
where not exists (select from closed_periods as p where p.first_day = $1)
    and not exists (
        select
        from settlements as s
        where s.billing_date = d.day::date
            and s.cut_at >= (d.day + interval '1 day') at time zone 'UTC'
    )
order by billing_date;
