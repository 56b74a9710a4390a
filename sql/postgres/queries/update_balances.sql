-- In the same transaction as the rows of billing_ledger, by the same amounts. Whose balance crosses
-- the credit limit, down or up again, gets an event.
with change as (
    select advertiser_id, sum(billed_amount) as amount
    from entry_plan
    where not is_suspense
    group by advertiser_id
),
updated as (
    update advertisers as a
    set current_balance = a.current_balance + c.amount
    from change as c
    where a.id = c.advertiser_id and c.amount <> 0
    returning a.id, a.name, a.credit_limit, a.created_at, a.current_balance, c.amount
),
crossing as (
    select
        u.*,
        case when u.amount < 0 then 'limit_crossed' else 'limit_cleared' end as kind,
        (select coalesce(max(event_id), 0) from advertiser_events)
        + row_number() over (order by u.id collate "C") as event_id
    from updated as u
    where (u.current_balance < -u.credit_limit) <> (u.current_balance - u.amount < -u.credit_limit)
)
insert into advertiser_events (
    event_id, advertiser_id, kind, name, credit_limit, registered_at, balance, event_hash
)
select
    c.event_id, c.id, c.kind, c.name, c.credit_limit, c.created_at, c.current_balance,
    ledger_event_hash(
        c.event_id, c.id, c.kind, c.name, c.credit_limit, c.created_at, c.current_balance,
        current_timestamp
    )
from crossing as c;
