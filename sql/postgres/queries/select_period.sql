-- $1 first day of the month.
select
    p.period_id, to_char(p.first_day, 'YYYY-MM') as month, p.entries, p.amount_micros::bigint as amount_micros,
    p.run_id, p.closed_at, encode(p.period_hash, 'hex') as period_hash
from closed_periods as p
where p.first_day = $1;
