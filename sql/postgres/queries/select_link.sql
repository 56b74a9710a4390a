-- $1 the hash of a link, in hexadecimal.
select l.link_id
from chain_links as l
where l.link_hash = decode($1, 'hex');
