-- $1 currency: the house's accounts in it, where they are missing.
with missing as (
    select h.account_kind
    from (
        values ('cash'), ('invalid_traffic'), ('revenue'), ('suspense')
    ) as h (account_kind)
    left join accounts as a on a.account_kind = h.account_kind and a.currency = $1
    where a.account_id is null
),
numbered as (
    select
        m.account_kind,
        (select coalesce(max(account_id), 0) from accounts)
        + row_number() over (order by m.account_kind collate "C") as account_id
    from missing as m
)
insert into accounts (account_id, account_kind, advertiser_id, currency, account_hash)
select
    n.account_id, n.account_kind, null, $1, ledger_account_hash(n.account_id, n.account_kind, null, $1)
from numbered as n;
