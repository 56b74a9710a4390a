-- The lesson's ledger: one row per entry of a registered advertiser, negative for charges.
insert into billing_ledger (transaction_id, advertiser_id, amount, version_id, description)
select
    idempotency_key,
    advertiser_id,
    billed_amount,
    revision,
    concat(
        kind, ' for clicks of ', to_char(billing_date, 'YYYY-MM-DD'), ', ', currency,
        case when original_entry_id is not null then concat(', to entry ', original_entry_id) end
    )
from entry_plan
where not is_suspense;
