-- $1 billing date, $2 currency: the first advertiser that is billed in another currency.
select s.advertiser_id, coalesce(a.currency, e.currency) as billed_currency
from charge_stage as s
left join accounts as a
    on a.advertiser_id = s.advertiser_id and a.account_kind = 'receivable' and a.currency <> $2
left join journal_entries as e
    on e.billing_date = $1 and e.advertiser_id = s.advertiser_id and e.currency <> $2
where a.account_id is not null or e.entry_id is not null
order by s.advertiser_id collate "C"
limit 1;
