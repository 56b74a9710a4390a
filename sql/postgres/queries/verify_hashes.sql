-- Keys and payload hashes, computed again from what they stand for.
with violation as (
    select 'entry ' || e.entry_id as subject
    from journal_entries as e
    where e.idempotency_key
        <> ledger_idempotency_key(e.billing_date, e.advertiser_id, e.kind, e.revision)
        or e.payload_hash <> ledger_payload_hash(
            e.idempotency_key, e.currency, e.amount_micros, e.day_micros, e.day_clicks, e.policy_hash
        )
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
