-- The first leg is the advertiser's or suspense, with the entry's amount; the second is the house's.
with violation as (
    select 'entry ' || e.entry_id as subject
    from journal_entries as e
    left join postings as p on p.entry_id = e.entry_id and p.leg = 1
    left join accounts as a on a.account_id = p.account_id
    left join postings as q on q.entry_id = e.entry_id and q.leg = 2
    left join accounts as c on c.account_id = q.account_id
    where case p.side when 'D' then p.amount_micros else -p.amount_micros end
        is distinct from e.amount_micros
        or p.currency is distinct from e.currency
        or case when e.is_suspense then a.account_kind = 'suspense'
            else a.advertiser_id = e.advertiser_id end is not true
        or c.account_kind is distinct from case e.kind when 'transfer' then 'suspense' else 'revenue' end
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
