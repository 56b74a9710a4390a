-- The advertisers whose balance has crossed the credit limit since the chain's last link, at most $1.
select
    v.advertiser_id,
    v.kind,
    (v.balance * 10000)::bigint as balance_decimal4,
    (v.credit_limit * 1000000)::bigint as credit_limit_micros
from advertiser_events as v
where v.event_id > coalesce((select l.last_event_id from chain_links as l order by l.link_id desc limit 1), 0)
    and v.kind in ('limit_crossed', 'limit_cleared')
order by v.event_id
limit $1;
