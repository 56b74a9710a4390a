-- $1 billing date: what the ledger holds for the day, suspense included.
select
    advertiser_id,
    currency,
    sum(amount_micros)::bigint as spend_micros,
    count(*) as entries,
    bool_or(is_suspense) as is_suspense
from journal_entries
where billing_date = $1 and kind in ('charge', 'adjustment', 'credit') and reference is null
group by advertiser_id, currency
order by advertiser_id collate "C";
