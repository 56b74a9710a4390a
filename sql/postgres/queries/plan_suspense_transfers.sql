-- One entry for every day whose charges stand in suspense although the advertiser is registered by
-- now: it moves them to his receivable. Revenue is not touched, it was booked with the charge.
with suspended as (
    select
        e.billing_date,
        e.advertiser_id,
        e.currency,
        sum(case
            when e.is_suspense then e.amount_micros
            when e.kind = 'transfer' then -e.amount_micros
            else 0
        end)::bigint as amount_micros,
        sum(e.amount_micros) filter (where e.kind <> 'transfer')::bigint as day_micros,
        coalesce(max(e.revision) filter (where e.kind = 'transfer'), 0) + 1 as revision,
        min(e.entry_id) as original_entry_id,
        max(e.entry_id) filter (where e.is_suspense) as last_entry_id
    from journal_entries as e
    join advertisers as a on a.id = e.advertiser_id
    where e.reference is null
        and exists (
            select from journal_entries as s
            where s.billing_date = e.billing_date and s.advertiser_id = e.advertiser_id
                and s.is_suspense
        )
    group by e.billing_date, e.advertiser_id, e.currency
),
keyed as (
    select
        s.*,
        l.day_clicks,
        l.day_invalid_clicks,
        l.policy_hash,
        r.account_id,
        ledger_idempotency_key(s.billing_date, s.advertiser_id, 'transfer', s.revision)
        as idempotency_key,
        row_number() over (partition by s.advertiser_id order by s.billing_date) = 1
        and r.account_id is null as is_new_account,
        coalesce((
            select c.cumulative_micros
            from journal_entries as c
            where c.advertiser_id = s.advertiser_id
            order by c.entry_id desc
            limit 1
        ), 0) as cumulative_posted
    from suspended as s
    join journal_entries as l on l.entry_id = s.last_entry_id
    left join accounts as r
        on r.advertiser_id = s.advertiser_id and r.account_kind = 'receivable'
    where s.amount_micros <> 0
),
running as (
    select
        k.*,
        row_number() over byid as position,
        count(*) filter (where k.is_new_account) over byid as opened,
        k.cumulative_posted + sum(k.amount_micros) over (
            partition by k.advertiser_id order by k.billing_date
        )::bigint as cumulative_micros
    from keyed as k
    window byid as (
        order by k.advertiser_id collate "C", k.billing_date rows unbounded preceding
    )
)
insert into entry_plan
select
    (select coalesce(max(entry_id), 0) from journal_entries) + r.position,
    r.idempotency_key,
    ledger_payload_hash(
        r.idempotency_key, r.currency, r.amount_micros, r.day_micros, r.day_clicks, r.policy_hash
    ),
    r.billing_date,
    ledger_booking_date(r.billing_date),
    r.advertiser_id,
    'transfer',
    r.revision,
    r.original_entry_id,
    r.currency,
    r.amount_micros,
    r.day_micros,
    r.day_clicks,
    r.day_invalid_clicks,
    false,
    r.cumulative_micros,
    billing_amount(r.cumulative_micros - r.amount_micros, r.cumulative_micros),
    r.policy_hash,
    null,
    'the advertiser is registered now',
    coalesce(r.account_id, (select max(account_id) from accounts) + r.opened),
    r.is_new_account,
    s.account_id
from running as r
join accounts as s on s.account_kind = 'suspense' and s.currency = r.currency;
