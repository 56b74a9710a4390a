-- $1 run ID, $2 billing date, $3 currency, $4 policy hash, $5 advertisers, $6 held advertisers,
-- $7 suspense advertisers, $8 posted entries, $9 delta micros, $10 result, $11 its hash, $12 cut,
-- $13 who is held.
with next as (
    select coalesce(max(settlement_id), 0) + 1 as settlement_id from settlements
)
insert into settlements (
    settlement_id, run_id, billing_date, currency, policy_hash, advertisers, held_advertisers,
    suspense_advertisers, posted_entries, delta_micros, result, result_hash, cut_at, held,
    settlement_hash
)
select
    n.settlement_id, $1, $2, $3::text, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::text [],
    ledger_settlement_hash(
        n.settlement_id, $1, $2, $3::text, $4, $5, $6, $7, $8, $9, current_timestamp, $10, $11, $12, $13::text []
    )
from next as n
returning settlement_id;
