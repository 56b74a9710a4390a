-- Every entry of a registered advertiser has its row in billing_ledger, no row is without entry, and
-- every column of a row follows from its entry.
with violation as (
    select
        coalesce(e.entry_id, 0) as position,
        concat(
            'billing_ledger transaction_id=', coalesce(b.transaction_id, e.idempotency_key),
            case
                when b.transaction_id is null then concat(': missing, entry ', e.entry_id, ' has no row')
                when e.entry_id is null then ': no entry has this key'
                else concat(': not what entry ', e.entry_id, ' says')
            end
        ) as subject
    from (select * from journal_entries where not is_suspense) as e
    full join billing_ledger as b on b.transaction_id = e.idempotency_key
    where b.transaction_id is null
        or e.entry_id is null
        or b.advertiser_id <> e.advertiser_id
        or b.version_id <> e.revision
        or b.created_at is distinct from e.posted_at
        or b.amount
        <> billing_amount(e.cumulative_micros - e.amount_micros, e.cumulative_micros)
        or b.description is distinct from ledger_description(
            e.kind, e.billing_date, e.booking_date, e.currency, e.original_entry_id, e.reference,
            e.reason
        )
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
