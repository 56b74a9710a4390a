-- Hashes of the rows that are no entries, computed again.
with violation as (
    select
        a.account_id as position,
        concat('accounts account_id=', a.account_id, ': not what its hash says') as subject
    from accounts as a
    where a.account_hash <> ledger_account_hash(a.account_id, a.account_kind, a.advertiser_id, a.currency)
    union all
    select
        s.settlement_id,
        concat('settlements settlement_id=', s.settlement_id, ': not what its hash says')
    from settlements as s
    where s.settlement_hash <> ledger_settlement_hash(
        s.settlement_id, s.run_id, s.billing_date, s.currency, s.policy_hash, s.advertisers,
        s.held_advertisers, s.suspense_advertisers, s.posted_entries, s.delta_micros, s.posted_at,
        s.result, s.result_hash, s.cut_at, s.held
    )
    union all
    select
        v.event_id,
        concat('advertiser_events event_id=', v.event_id, ': not what its hash says')
    from advertiser_events as v
    where v.event_hash <> ledger_event_hash(
        v.event_id, v.advertiser_id, v.kind, v.name, v.credit_limit, v.registered_at, v.balance,
        v.happened_at
    )
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
