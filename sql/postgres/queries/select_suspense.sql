-- What stands in suspense, by advertiser and day, with the time of the first posting.
select
    e.advertiser_id,
    to_char(e.billing_date, 'YYYY-MM-DD') as billing_date,
    e.currency,
    sum(case
        when e.is_suspense then e.amount_micros
        when e.kind = 'transfer' then -e.amount_micros
        else 0
    end)::bigint as suspense_micros,
    min(e.posted_at) filter (where e.is_suspense) as first_posted_at,
    exists (select from advertisers as a where a.id = e.advertiser_id) as is_registered
from journal_entries as e
where exists (
    select from journal_entries as s
    where s.billing_date = e.billing_date and s.advertiser_id = e.advertiser_id and s.is_suspense
)
group by e.advertiser_id, e.billing_date, e.currency
having sum(case
    when e.is_suspense then e.amount_micros
    when e.kind = 'transfer' then -e.amount_micros
    else 0
end) <> 0
order by e.advertiser_id collate "C", e.billing_date;
