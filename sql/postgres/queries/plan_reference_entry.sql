-- $1 kind, $2 advertiser, $3 date, $4 currency, $5 amount micros, $6 reference, $7 reason,
-- $8 original entry. One entry that is made by hand, unless the ledger has its reference already.
with keyed as (
    select
        ledger_reference_key($2, $1, $6) as idempotency_key,
        ledger_booking_date($3) as booking_date,
        (
            select r.account_id
            from accounts as r
            where r.advertiser_id = $2 and r.account_kind = 'receivable'
        ) as account_id,
        coalesce((
            select e.cumulative_micros
            from journal_entries as e
            where e.advertiser_id = $2
            order by e.entry_id desc
            limit 1
        ), 0) as cumulative_before,
        case
            when $1 = 'payment' then 'cash'
            when $1 = 'credit' then 'invalid_traffic'
            else (
                select c.account_kind
                from postings as p
                join accounts as c on c.account_id = p.account_id
                where p.entry_id = $8 and p.leg = 2
            )
        end as counter_kind
),
hashed as (
    select
        k.*,
        ledger_reference_hash(k.idempotency_key, $4, $5, $8, $7) as payload_hash
    from keyed as k
)
insert into entry_plan
select
    (select coalesce(max(entry_id), 0) from journal_entries) + 1,
    h.idempotency_key,
    h.payload_hash,
    $3,
    h.booking_date,
    $2,
    $1,
    1,
    $8,
    $4,
    $5,
    0,
    0,
    null,
    false,
    h.cumulative_before + $5,
    billing_amount(h.cumulative_before, h.cumulative_before + $5),
    '',
    $6,
    $7,
    coalesce(h.account_id, (select max(account_id) from accounts) + 1),
    h.account_id is null,
    c.account_id
from hashed as h
join accounts as c on c.account_kind = h.counter_kind and c.currency = $4
where not exists (
    select from journal_entries as e
    where e.idempotency_key = h.idempotency_key and e.payload_hash = h.payload_hash
);
