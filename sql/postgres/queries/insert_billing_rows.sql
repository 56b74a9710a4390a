-- The lesson's ledger: one row per entry of a registered advertiser, negative for charges.
insert into billing_ledger (transaction_id, advertiser_id, amount, version_id, description)
select
    idempotency_key,
    advertiser_id,
    billed_amount,
    revision,
    ledger_description(
        kind, billing_date, booking_date, currency, original_entry_id, reference, reason
    )
from entry_plan
where not is_suspense;
