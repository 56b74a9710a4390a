-- $1 run ID, $2 billing date, $3 currency, $4 policy hash, $5 advertisers, $6 held advertisers,
-- $7 suspense advertisers, $8 posted entries, $9 delta micros.
insert into settlements (
    run_id, billing_date, currency, policy_hash, advertisers, held_advertisers,
    suspense_advertisers, posted_entries, delta_micros
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
returning settlement_id;
