-- current_balance is the sum of the advertiser's rows in billing_ledger.
with summed as (
    select advertiser_id, sum(amount) as amount
    from billing_ledger
    group by advertiser_id
),
violation as (
    select
        0 as position,
        concat(
            'advertisers id=', a.id, ': current_balance is ', a.current_balance,
            ', the rows of billing_ledger sum to ', coalesce(s.amount, 0)
        ) as subject
    from advertisers as a
    left join summed as s on s.advertiser_id = a.id
    where a.current_balance <> coalesce(s.amount, 0)
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
