-- A key that is about to be posted and is already there: the ledger and the plan disagree.
select
    p.idempotency_key,
    to_char(p.billing_date, 'YYYY-MM-DD') as billing_date,
    p.advertiser_id,
    p.kind,
    p.revision,
    e.payload_hash = p.payload_hash as is_same_payload
from entry_plan as p
join journal_entries as e on e.idempotency_key = p.idempotency_key
order by p.entry_id
limit 1;
