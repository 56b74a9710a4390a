-- In the same transaction as the rows of billing_ledger, by the same amounts.
with change as (
    select advertiser_id, sum(billed_amount) as amount
    from entry_plan
    where not is_suspense
    group by advertiser_id
)
update advertisers as a
set current_balance = a.current_balance + c.amount
from change as c
where a.id = c.advertiser_id and c.amount <> 0;
