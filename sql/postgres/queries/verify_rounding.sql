-- An advertiser's cumulative micros are the sum of what was posted to his account, and the sum of
-- his rows in billing_ledger is that, rounded once, after every entry.
with running as (
    select
        e.entry_id,
        e.cumulative_micros,
        (sum(case when e.is_suspense then 0 else e.amount_micros end) over history)::bigint as summed_micros,
        sum(coalesce(b.amount, 0)) over history as billed
    from journal_entries as e
    left join billing_ledger as b on b.transaction_id = e.idempotency_key
    window history as (partition by e.advertiser_id order by e.entry_id)
),
violation as (
    select
        entry_id as position,
        concat(
            'journal_entries entry_id=', entry_id, ': the advertiser owes ', summed_micros,
            ' micros, it says ', cumulative_micros, ', billed ', billed
        ) as subject
    from running
    where cumulative_micros <> summed_micros
        or billed <> -round_half_even_decimal4(summed_micros)::decimal / 10000
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
