-- Keys, payload hashes and hashes of entries, computed again from what they stand for.
with leg as (
    select
        entry_id,
        string_agg(ledger_leg(leg, account_id, currency, side, amount_micros), ';' order by leg) as legs
    from postings
    group by entry_id
),
checked as (
    select
        e.entry_id,
        e.idempotency_key <> case
            when e.reference is null
                then ledger_idempotency_key(e.billing_date, e.advertiser_id, e.kind, e.revision)
            else ledger_reference_key(e.advertiser_id, e.kind, e.reference)
        end as is_key_wrong,
        e.payload_hash <> case
            when e.reference is null then ledger_payload_hash(
                e.idempotency_key, e.currency, e.amount_micros, e.day_micros, e.day_clicks, e.policy_hash
            )
            else ledger_reference_hash(
                e.idempotency_key, e.currency, e.amount_micros, e.original_entry_id, e.reason
            )
        end as is_payload_wrong,
        e.entry_hash <> ledger_entry_hash(
            e.entry_id, e.idempotency_key, e.payload_hash, e.billing_date, e.booking_date,
            e.advertiser_id, e.kind, e.revision, e.original_entry_id, e.currency, e.amount_micros,
            e.day_micros, e.day_clicks, e.day_invalid_clicks, e.is_suspense, e.cumulative_micros,
            e.leg_count, e.policy_hash, e.run_id, e.reference, e.reason, e.posted_at,
            coalesce(l.legs, '')
        ) as is_entry_wrong
    from journal_entries as e
    left join leg as l on l.entry_id = e.entry_id
),
violation as (
    select
        c.entry_id as position,
        concat(
            'journal_entries entry_id=', c.entry_id, ': it or its postings are not what was posted, by its ',
            concat_ws(
                ', ',
                case when c.is_key_wrong then 'idempotency key' end,
                case when c.is_payload_wrong then 'payload hash' end,
                case when c.is_entry_wrong then 'entry hash' end
            )
        ) as subject
    from checked as c
    where c.is_key_wrong or c.is_payload_wrong or c.is_entry_wrong
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
