-- $1 at most so many, newest first.
select
    settlement_id, run_id, to_char(billing_date, 'YYYY-MM-DD') as billing_date, currency,
    policy_hash, advertisers, held_advertisers, suspense_advertisers, posted_entries,
    delta_micros, posted_at, result, result_hash, cut_at, held
from settlements
order by settlement_id desc
limit $1;
