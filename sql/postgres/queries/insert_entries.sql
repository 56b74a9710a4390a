-- $1 run ID.
insert into journal_entries (
    entry_id, idempotency_key, payload_hash, billing_date, advertiser_id, kind, revision,
    original_entry_id, currency, amount_micros, day_micros, day_clicks, is_suspense,
    cumulative_micros, policy_hash, run_id
)
select
    entry_id, idempotency_key, payload_hash, billing_date, advertiser_id, kind, revision,
    original_entry_id, currency, amount_micros, day_micros, day_clicks, is_suspense,
    cumulative_micros, policy_hash, $1
from entry_plan
order by entry_id;
