-- The sum of an advertiser's charges in billing_ledger is his cumulative micros, rounded once, after
-- every entry; the cumulative micros are the sum of his postings.
with running as (
    select
        e.entry_id,
        e.cumulative_micros,
        sum(case when e.is_suspense then 0 else e.amount_micros end) over (
            partition by e.advertiser_id order by e.entry_id
        )::bigint as summed_micros,
        sum(coalesce(b.amount, 0)) over (
            partition by e.advertiser_id order by e.entry_id
        ) as billed
    from journal_entries as e
    left join billing_ledger as b on b.transaction_id = e.idempotency_key
),
violation as (
    select 'entry ' || entry_id as subject
    from running
    where cumulative_micros <> summed_micros
        or billed <> -round_half_even_decimal4(summed_micros)::decimal / 10000
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
