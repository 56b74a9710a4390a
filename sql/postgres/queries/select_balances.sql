-- $1 advertiser, or null for all.
select
    a.id,
    a.name,
    (a.current_balance * 10000)::bigint as balance_decimal4,
    coalesce(c.charged_micros, 0)::bigint as charged_micros,
    coalesce(c.paid_micros, 0)::bigint as paid_micros,
    coalesce(c.credited_micros, 0)::bigint as credited_micros,
    (a.credit_limit * 1000000)::bigint as credit_limit_micros,
    a.current_balance < -a.credit_limit as is_over_limit,
    coalesce(r.currency, '') as currency
from advertisers as a
left join accounts as r on r.advertiser_id = a.id and r.account_kind = 'receivable'
left join (
    select
        e.advertiser_id,
        sum(e.amount_micros) filter (where e.reference is null) as charged_micros,
        -sum(e.amount_micros) filter (where coalesce(o.kind, e.kind) = 'payment') as paid_micros,
        -sum(e.amount_micros) filter (
            where coalesce(o.kind, e.kind) = 'credit' and e.reference is not null
        ) as credited_micros
    from journal_entries as e
    left join journal_entries as o on o.entry_id = e.original_entry_id and e.kind = 'reversal'
    where not e.is_suspense and ($1::text is null or e.advertiser_id = $1)
    group by e.advertiser_id
) as c on c.advertiser_id = a.id
where $1::text is null or a.id = $1
order by a.id collate "C";
