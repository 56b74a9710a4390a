-- $1 run ID. The plan was filled in the order of entries, and is read in it: a sort of a large plan
-- would go to disk for nothing.
insert into journal_entries (
    entry_id, idempotency_key, payload_hash, billing_date, advertiser_id, kind, revision,
    original_entry_id, currency, amount_micros, day_micros, day_clicks, is_suspense,
    cumulative_micros, policy_hash, run_id
)
select
    entry_id, idempotency_key, payload_hash, billing_date, advertiser_id, kind, revision,
    original_entry_id, currency, amount_micros, day_micros, day_clicks, is_suspense,
    cumulative_micros, policy_hash, $1
from entry_plan;
