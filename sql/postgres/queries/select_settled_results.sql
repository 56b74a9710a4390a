-- $1 first and $2 last billing date, $3 advertiser or null, $4 as of the close: the last settlement of
-- each day that names its result and did not hold the advertiser. As of the close of a closed month:
-- what came later is not part of its statement.
select distinct on (s.billing_date)
    s.billing_date, s.settlement_id, s.run_id, s.result, s.result_hash, s.cut_at, s.held
from settlements as s
left join closed_periods as p on s.billing_date between p.first_day and p.last_day
left join lateral (
    select min(l.last_settlement_id) as last_settlement_id
    from chain_links as l
    where l.last_period_id >= p.period_id
) as c on true
where s.billing_date between $1 and $2
    and s.result is not null
    and ($3::text is null or $3 <> all (s.held))
    and (not $4::boolean or p.period_id is null or s.settlement_id <= c.last_settlement_id)
order by s.billing_date, s.settlement_id desc;
