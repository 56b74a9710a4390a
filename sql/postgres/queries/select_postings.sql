-- $1 entry: its postings in order, with their accounts.
select
    p.leg,
    a.account_kind,
    coalesce(a.advertiser_id, '') as advertiser_id,
    p.side,
    p.currency,
    p.amount_micros
from postings as p
join accounts as a on a.account_id = p.account_id
where p.entry_id = $1
order by p.leg;
