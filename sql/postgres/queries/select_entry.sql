-- $1 entry.
select
    e.entry_id,
    e.idempotency_key,
    e.advertiser_id,
    e.kind,
    e.revision,
    e.original_entry_id,
    e.billing_date,
    e.booking_date,
    e.currency,
    e.amount_micros,
    e.day_micros,
    e.day_clicks,
    e.is_suspense,
    e.policy_hash,
    e.reference,
    e.reason,
    e.run_id,
    e.posted_at,
    coalesce((
        select min(l.link_id) from chain_links as l where l.last_entry_id >= e.entry_id
    ), 0) as link_id,
    (b.amount * 10000)::bigint as billed_decimal4
from journal_entries as e
left join billing_ledger as b on b.transaction_id = e.idempotency_key
where e.entry_id = $1;
