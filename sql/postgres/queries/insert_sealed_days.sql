-- $1 first day, $2 last day, $3 period. One seal for each day, each over the day's entries in order
-- and the seal before it.
with recursive day as (
    select
        row_number() over (order by d.booking_date) as position,
        d.booking_date::date as booking_date,
        coalesce(e.entries, 0) as entries,
        coalesce(e.amount_micros, 0)::numeric(38) as amount_micros,
        coalesce(e.entries_hash, sha256(''::bytea)) as entries_hash
    from generate_series($1::date, $2::date, interval '1 day') as d (booking_date)
    left join (
        select
            j.booking_date,
            count(*) as entries,
            sum(j.amount_micros) as amount_micros,
            sha256(string_agg(j.entry_hash, ''::bytea order by j.entry_id)) as entries_hash
        from journal_entries as j
        where j.booking_date between $1 and $2
        group by j.booking_date
    ) as e on e.booking_date = d.booking_date
),
seal as (
    select
        d.*,
        ledger_seal_hash(
            d.booking_date, $3, d.entries, d.amount_micros, d.entries_hash,
            (select s.seal_hash from sealed_days as s order by s.booking_date desc limit 1)
        ) as seal_hash
    from day as d
    where d.position = 1
    union all
    select
        d.*,
        ledger_seal_hash(
            d.booking_date, $3, d.entries, d.amount_micros, d.entries_hash, s.seal_hash
        )
    from seal as s
    join day as d on d.position = s.position + 1
)
insert into sealed_days (booking_date, period_id, entries, amount_micros, entries_hash, seal_hash)
select s.booking_date, $3, s.entries, s.amount_micros, s.entries_hash, s.seal_hash
from seal as s;
