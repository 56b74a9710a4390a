-- Every leg is what its entry says: the first in the advertiser's account, or in suspense, the second
-- in the house's account for the entry's kind.
with expected as (
    select
        e.entry_id,
        n.leg,
        e.currency,
        abs(e.amount_micros) as amount_micros,
        case when (n.leg = 1) = (e.amount_micros > 0) then 'D' else 'C' end as side,
        case when n.leg = 1 and not e.is_suspense then e.advertiser_id end as advertiser_id,
        case
            when n.leg = 1 then case when e.is_suspense then 'suspense' else 'receivable' end
            when coalesce(o.kind, e.kind) = 'transfer' then 'suspense'
            when coalesce(o.kind, e.kind) = 'payment' then 'cash'
            when coalesce(o.kind, e.kind) = 'credit' then 'invalid_traffic'
            else 'revenue'
        end as account_kind
    from journal_entries as e
    cross join (values (1), (2)) as n (leg)
    left join journal_entries as o on o.entry_id = e.original_entry_id and e.kind = 'reversal'
),
violation as (
    select
        coalesce(x.entry_id, p.entry_id) as position,
        concat(
            'postings entry_id=', coalesce(x.entry_id, p.entry_id), ' leg=', coalesce(x.leg, p.leg),
            case
                when p.entry_id is null then ': missing'
                when x.entry_id is null then ': belongs to no entry'
                when a.account_id is null then ': in no account'
                else ': not what its entry says'
            end
        ) as subject
    from expected as x
    full join postings as p on p.entry_id = x.entry_id and p.leg = x.leg
    left join accounts as a on a.account_id = p.account_id
    where p.entry_id is null
        or x.entry_id is null
        or a.account_id is null
        or p.currency <> x.currency
        or p.side <> x.side
        or p.amount_micros <> x.amount_micros
        or a.account_kind <> x.account_kind
        or a.currency <> x.currency
        or a.advertiser_id is distinct from x.advertiser_id
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
