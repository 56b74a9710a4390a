-- Closed months: every day is sealed, each seal covers the day's entries and the seal before, and the
-- period covers its last seal.
with held as (
    select
        e.booking_date,
        count(*) as entries,
        sum(e.amount_micros) as amount_micros,
        sha256(string_agg(e.entry_hash, ''::bytea order by e.entry_id)) as entries_hash
    from journal_entries as e
    where e.booking_date <= (select max(last_day) from closed_periods)
    group by e.booking_date
),
sealed as (
    select
        s.*,
        lag(s.seal_hash) over (order by s.booking_date) as hash_before
    from sealed_days as s
),
calendar as (
    select p.period_id, d.booking_date::date as booking_date
    from closed_periods as p
    cross join lateral generate_series(p.first_day, p.last_day, interval '1 day') as d (booking_date)
),
violation as (
    select
        coalesce(c.period_id, s.period_id) as position,
        concat(
            'sealed_days booking_date=', coalesce(c.booking_date, s.booking_date),
            case when s.booking_date is null then ': missing' else ': in no closed period' end
        ) as subject
    from calendar as c
    full join sealed as s on s.booking_date = c.booking_date and s.period_id = c.period_id
    where s.booking_date is null or c.booking_date is null
    union all
    select s.period_id, concat('sealed_days booking_date=', s.booking_date, ': not the entries of the day')
    from sealed as s
    left join held as h on h.booking_date = s.booking_date
    where s.entries <> coalesce(h.entries, 0)
        or s.amount_micros <> coalesce(h.amount_micros, 0)
        or s.entries_hash <> coalesce(h.entries_hash, sha256(''::bytea))
    union all
    select s.period_id, concat('sealed_days booking_date=', s.booking_date, ': not what its hash says')
    from sealed as s
    where s.seal_hash <> ledger_seal_hash(
        s.booking_date, s.period_id, s.entries, s.amount_micros, s.entries_hash, s.hash_before
    )
    union all
    select p.period_id, concat('closed_periods period_id=', p.period_id, ': not what its hash says')
    from closed_periods as p
    left join sealed as s on s.booking_date = p.last_day
    where p.period_hash is distinct from ledger_period_hash(
        p.period_id, p.first_day, p.last_day, p.entries, p.amount_micros, p.run_id, p.closed_at,
        s.seal_hash
    )
    union all
    select p.period_id, concat('closed_periods period_id=', p.period_id, ': not the sum of its days')
    from closed_periods as p
    left join (
        select d.period_id, sum(d.entries) as entries, sum(d.amount_micros) as amount_micros
        from sealed_days as d
        group by d.period_id
    ) as t on t.period_id = p.period_id
    where p.entries is distinct from t.entries or p.amount_micros is distinct from t.amount_micros
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
