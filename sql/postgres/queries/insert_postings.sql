-- Two legs per entry: the advertiser's (or suspense) and the house's. A negative amount swaps sides.
with legged as (
    select
        p.entry_id,
        p.currency,
        abs(p.amount_micros) as amount_micros,
        coalesce(receivable.account_id, suspense.account_id) as account_id,
        counter.account_id as counter_account_id,
        case when p.amount_micros > 0 then 'D' else 'C' end as side,
        case when p.amount_micros > 0 then 'C' else 'D' end as counter_side
    from entry_plan as p
    join accounts as counter
        on counter.account_kind = p.counter_kind and counter.currency = p.currency
    left join accounts as receivable
        on receivable.advertiser_id = p.advertiser_id and receivable.account_kind = 'receivable'
            and not p.is_suspense
    left join accounts as suspense
        on suspense.account_kind = 'suspense' and suspense.currency = p.currency and p.is_suspense
)
insert into postings (entry_id, leg, account_id, currency, side, amount_micros)
select
    l.entry_id,
    n.leg,
    case n.leg when 1 then l.account_id else l.counter_account_id end,
    l.currency,
    case n.leg when 1 then l.side else l.counter_side end,
    l.amount_micros
from legged as l
cross join (values (1), (2)) as n (leg);
