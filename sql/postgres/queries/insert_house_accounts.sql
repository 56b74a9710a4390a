-- The revenue and suspense accounts of every currency in the plan, where they are missing.
with missing as (
    select h.account_kind, c.currency
    from (values ('revenue'), ('suspense')) as h (account_kind)
    cross join (select distinct currency from entry_plan) as c
    left join accounts as a on a.account_kind = h.account_kind and a.currency = c.currency
    where a.account_id is null
)
insert into accounts (account_id, account_kind, advertiser_id, currency)
select
    (select coalesce(max(account_id), 0) from accounts)
    + row_number() over (order by m.currency, m.account_kind collate "C"),
    m.account_kind,
    null,
    m.currency
from missing as m;
