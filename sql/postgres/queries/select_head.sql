-- The newest link of the chain.
select
    l.link_id, encode(l.link_hash, 'hex') as link_hash, l.last_entry_id, l.last_settlement_id,
    l.last_period_id, l.linked_at
from chain_links as l
order by l.link_id desc
limit 1;
