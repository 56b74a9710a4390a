-- $1 period, $2 first day, $3 last day, $4 run ID: the sum of the days that were just sealed.
insert into closed_periods (
    period_id, first_day, last_day, entries, amount_micros, run_id, period_hash
)
select
    $1, $2, $3, t.entries, t.amount_micros, $4,
    ledger_period_hash($1, $2, $3, t.entries, t.amount_micros, $4, current_timestamp, s.seal_hash)
from (
    select sum(d.entries)::bigint as entries, sum(d.amount_micros)::numeric(38) as amount_micros
    from sealed_days as d
    where d.period_id = $1
) as t
join sealed_days as s on s.booking_date = $3;
