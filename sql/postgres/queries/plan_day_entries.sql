-- $1 billing date, $2 currency, $3 policy hash.
-- One entry for every advertiser whose total of the day differs from what the ledger holds: the
-- difference. Who is absent from the batch has a total of zero; who is held is left alone. A
-- difference downwards while more clicks are invalid than before is a credit for invalid traffic.
with posted as (
    select
        advertiser_id,
        sum(amount_micros)::bigint as posted_micros,
        max(revision) as revision,
        max(day_invalid_clicks) as invalid_clicks,
        min(entry_id) as original_entry_id
    from journal_entries
    where billing_date = $1 and currency = $2 and kind in ('charge', 'adjustment', 'credit')
        and reference is null
    group by advertiser_id
),
delta as (
    select
        coalesce(s.advertiser_id, p.advertiser_id) as advertiser_id,
        coalesce(s.spend_micros, 0) - coalesce(p.posted_micros, 0) as amount_micros,
        coalesce(s.spend_micros, 0) as day_micros,
        coalesce(s.clicks, 0) as day_clicks,
        s.invalid_clicks as day_invalid_clicks,
        p.advertiser_id is null as is_first,
        s.invalid_clicks > p.invalid_clicks as has_more_invalid,
        coalesce(p.revision, 0) + 1 as revision,
        p.original_entry_id
    from charge_stage as s
    full join posted as p on p.advertiser_id = s.advertiser_id
),
due as (
    select
        d.*,
        a.id is null as is_suspense,
        r.account_id,
        (select ledger_booking_date($1)) as booking_date -- once, not once a row
    from delta as d
    left join advertisers as a on a.id = d.advertiser_id
    left join accounts as r
        on r.advertiser_id = d.advertiser_id and r.account_kind = 'receivable'
    where d.amount_micros <> 0
        and not exists (select from held_stage as h where h.advertiser_id = d.advertiser_id)
),
kinded as (
    select
        d.*,
        case
            when d.is_first and d.booking_date = $1 then 'charge'
            when d.amount_micros < 0 and d.has_more_invalid then 'credit'
            else 'adjustment'
        end as kind
    from due as d
),
keyed as materialized (
    select
        k.*,
        ledger_idempotency_key($1, k.advertiser_id, k.kind, k.revision) as idempotency_key,
        coalesce((
            select e.cumulative_micros
            from journal_entries as e
            where e.advertiser_id = k.advertiser_id
            order by e.entry_id desc
            limit 1
        ), 0) as cumulative_before
    from kinded as k
),
numbered as (
    select
        k.*,
        row_number() over byid as position,
        count(*) filter (where k.account_id is null and not k.is_suspense) over byid as opened,
        k.cumulative_before + case when k.is_suspense then 0 else k.amount_micros end
        as cumulative_after
    from keyed as k
    window byid as (order by k.advertiser_id collate "C" rows unbounded preceding)
)
insert into entry_plan
select
    (select coalesce(max(entry_id), 0) from journal_entries) + n.position,
    n.idempotency_key,
    ledger_payload_hash(n.idempotency_key, $2, n.amount_micros, n.day_micros, n.day_clicks, $3),
    $1,
    n.booking_date,
    n.advertiser_id,
    n.kind,
    n.revision,
    n.original_entry_id,
    $2,
    n.amount_micros,
    n.day_micros,
    n.day_clicks,
    n.day_invalid_clicks,
    n.is_suspense,
    n.cumulative_after,
    billing_amount(n.cumulative_before, n.cumulative_after),
    $3,
    null,
    case
        when n.kind = 'charge' then null
        when n.kind = 'credit' then 'clicks found to be invalid after they were charged'
        when n.booking_date > $1 then 'clicks of a closed day, received or judged after the close'
        else 'the day was judged again'
    end,
    case
        when n.is_suspense
            then (select account_id from accounts where account_kind = 'suspense' and currency = $2)
        else coalesce(n.account_id, (select max(account_id) from accounts) + n.opened)
    end,
    n.account_id is null and not n.is_suspense,
    -- Each account is looked up once, not once a row.
    case n.kind
        when 'credit' then (
            select account_id from accounts where account_kind = 'invalid_traffic' and currency = $2
        )
        else (select account_id from accounts where account_kind = 'revenue' and currency = $2)
    end
from numbered as n;
