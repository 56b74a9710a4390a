-- Two legs per entry: the advertiser's (or suspense) and the house's. A negative amount swaps sides.
insert into postings (entry_id, leg, account_id, currency, side, amount_micros)
select
    p.entry_id,
    n.leg,
    case n.leg when 1 then p.account_id else p.counter_account_id end,
    p.currency,
    case when (n.leg = 1) = (p.amount_micros > 0) then 'D' else 'C' end,
    abs(p.amount_micros)
from entry_plan as p
cross join (values (1), (2)) as n (leg);
