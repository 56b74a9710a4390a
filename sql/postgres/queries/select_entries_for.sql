-- $1 billing date, $2 advertiser.
select
    e.entry_id,
    e.idempotency_key,
    e.kind,
    e.revision,
    e.original_entry_id,
    e.currency,
    e.amount_micros,
    e.day_micros,
    e.day_clicks,
    e.is_suspense,
    e.policy_hash,
    e.run_id,
    e.posted_at,
    (b.amount * 10000)::bigint as billed_decimal4
from journal_entries as e
left join billing_ledger as b on b.transaction_id = e.idempotency_key
where e.billing_date = $1 and e.advertiser_id = $2
order by e.entry_id;
