-- The receivable account of every registered advertiser in the plan, where it is missing.
with missing as (
    select distinct p.advertiser_id, p.currency
    from entry_plan as p
    left join accounts as a
        on a.advertiser_id = p.advertiser_id and a.account_kind = 'receivable'
    where not p.is_suspense and a.account_id is null
)
insert into accounts (account_id, account_kind, advertiser_id, currency)
select
    (select coalesce(max(account_id), 0) from accounts)
    + row_number() over (order by m.advertiser_id collate "C"),
    'receivable',
    m.advertiser_id,
    m.currency
from missing as m;
