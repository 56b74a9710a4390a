-- $1 run ID. The plan was filled in the order of entries, and is read in it: a sort of a large plan
-- would go to disk for nothing.
insert into journal_entries (
    entry_id, idempotency_key, payload_hash, billing_date, booking_date, advertiser_id, kind,
    revision, original_entry_id, currency, amount_micros, day_micros, day_clicks,
    day_invalid_clicks, is_suspense, cumulative_micros, leg_count, policy_hash, run_id, reference,
    reason, posted_at, entry_hash
)
select
    p.entry_id, p.idempotency_key, p.payload_hash, p.billing_date, p.booking_date, p.advertiser_id,
    p.kind, p.revision, p.original_entry_id, p.currency, p.amount_micros, p.day_micros,
    p.day_clicks, p.day_invalid_clicks, p.is_suspense, p.cumulative_micros, 2, p.policy_hash, $1,
    p.reference, p.reason, current_timestamp,
    ledger_entry_hash(
        p.entry_id, p.idempotency_key, p.payload_hash, p.billing_date, p.booking_date,
        p.advertiser_id, p.kind, p.revision, p.original_entry_id, p.currency, p.amount_micros,
        p.day_micros, p.day_clicks, p.day_invalid_clicks, p.is_suspense, p.cumulative_micros,
        2::smallint, p.policy_hash, $1, p.reference, p.reason, current_timestamp,
        concat_ws(
            ';',
            ledger_leg(
                1::smallint, p.account_id, p.currency,
                case when p.amount_micros > 0 then 'D' else 'C' end, abs(p.amount_micros)
            ),
            ledger_leg(
                2::smallint, p.counter_account_id, p.currency,
                case when p.amount_micros > 0 then 'C' else 'D' end, abs(p.amount_micros)
            )
        )
    )
from entry_plan as p;
