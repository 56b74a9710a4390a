-- $1 billing date, $2 currency, $3 policy hash.
-- One entry for every advertiser whose total of the day differs from what the ledger holds: the
-- difference. Who is absent from the batch has a total of zero; who is held is left alone.
with posted as (
    select
        advertiser_id,
        sum(amount_micros)::bigint as posted_micros,
        max(revision) as revision,
        min(entry_id) filter (where kind = 'charge') as original_entry_id
    from journal_entries
    where billing_date = $1 and currency = $2 and kind in ('charge', 'adjustment')
    group by advertiser_id
),
delta as (
    select
        coalesce(s.advertiser_id, p.advertiser_id) as advertiser_id,
        coalesce(s.spend_micros, 0) - coalesce(p.posted_micros, 0) as amount_micros,
        coalesce(s.spend_micros, 0) as day_micros,
        coalesce(s.clicks, 0) as day_clicks,
        case when p.advertiser_id is null then 'charge' else 'adjustment' end as kind,
        coalesce(p.revision, 0) + 1 as revision,
        p.original_entry_id
    from charge_stage as s
    full join posted as p on p.advertiser_id = s.advertiser_id
),
due as (
    select d.*, a.id is null as is_suspense
    from delta as d
    left join advertisers as a on a.id = d.advertiser_id
    where d.amount_micros <> 0
        and not exists (select from held_stage as h where h.advertiser_id = d.advertiser_id)
),
keyed as materialized (
    select
        d.*,
        ledger_idempotency_key($1, d.advertiser_id, d.kind, d.revision) as idempotency_key,
        coalesce((
            select e.cumulative_micros
            from journal_entries as e
            where e.advertiser_id = d.advertiser_id
            order by e.entry_id desc
            limit 1
        ), 0) as cumulative_before
    from due as d
),
running as materialized (
    select
        k.*,
        k.cumulative_before + case when k.is_suspense then 0 else k.amount_micros end as cumulative_after
    from keyed as k
)
insert into entry_plan
select
    (select coalesce(max(entry_id), 0) from journal_entries)
    + row_number() over (order by k.advertiser_id collate "C") as entry_id,
    k.idempotency_key,
    ledger_payload_hash(k.idempotency_key, $2, k.amount_micros, k.day_micros, k.day_clicks, $3),
    $1,
    k.advertiser_id,
    k.kind,
    k.revision,
    k.original_entry_id,
    $2,
    k.amount_micros,
    k.day_micros,
    k.day_clicks,
    k.is_suspense,
    k.cumulative_after,
    billing_amount(k.cumulative_before, k.cumulative_after),
    $3,
    'revenue'
from running as k;
