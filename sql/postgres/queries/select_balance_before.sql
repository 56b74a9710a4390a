-- $1 advertiser, $2 day: the balance before all that is booked from that day on, in units of 1e-4.
select coalesce(sum(b.amount) * 10000, 0)::bigint as balance_decimal4
from journal_entries as e
join billing_ledger as b on b.transaction_id = e.idempotency_key
where e.advertiser_id = $1 and e.booking_date < $2;
