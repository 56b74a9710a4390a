select
    a.id,
    a.name,
    (a.current_balance * 10000)::bigint as balance_decimal4,
    coalesce(c.charged_micros, 0)::bigint as charged_micros
from advertisers as a
left join (
    select advertiser_id, sum(amount_micros)::bigint as charged_micros
    from journal_entries
    where not is_suspense
    group by advertiser_id
) as c on c.advertiser_id = a.id
order by a.id collate "C";
