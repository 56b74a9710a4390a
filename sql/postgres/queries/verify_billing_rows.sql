-- Every entry of a registered advertiser has its row in billing_ledger, and no row is without entry.
with violation as (
    select coalesce('entry ' || e.entry_id, 'transaction ' || b.transaction_id) as subject
    from (select * from journal_entries where not is_suspense) as e
    full join billing_ledger as b on b.transaction_id = e.idempotency_key
    where b.transaction_id is null
        or e.entry_id is null
        or b.advertiser_id <> e.advertiser_id
        or b.version_id <> e.revision
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
