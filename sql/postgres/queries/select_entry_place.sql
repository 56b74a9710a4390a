-- $1 entry: where it stands in the chain, and whether it is what its hash says.
with legs as (
    select
        string_agg(
            ledger_leg(p.leg, p.account_id, p.currency, p.side, p.amount_micros), ';' order by p.leg
        ) as legs
    from postings as p
    where p.entry_id = $1
)
select
    e.entry_id,
    encode(e.entry_hash, 'hex') as entry_hash,
    e.entry_hash = ledger_entry_hash(
        e.entry_id, e.idempotency_key, e.payload_hash, e.billing_date, e.booking_date,
        e.advertiser_id, e.kind, e.revision, e.original_entry_id, e.currency, e.amount_micros,
        e.day_micros, e.day_clicks, e.day_invalid_clicks, e.is_suspense, e.cumulative_micros,
        e.leg_count, e.policy_hash, e.run_id, e.reference, e.reason, e.posted_at, coalesce(g.legs, '')
    ) as is_intact,
    l.link_id,
    encode(l.link_hash, 'hex') as link_hash,
    coalesce(encode(b.link_hash, 'hex'), '') as previous_hash,
    coalesce(b.last_entry_id, 0) + 1 as first_entry_id,
    l.last_entry_id,
    l.linked_at,
    h.link_id as head_id,
    encode(h.link_hash, 'hex') as head_hash,
    coalesce(encode(s.seal_hash, 'hex'), '') as seal_hash
from journal_entries as e
cross join legs as g
join lateral (
    select c.* from chain_links as c where c.last_entry_id >= e.entry_id order by c.link_id limit 1
) as l on true
join lateral (select c.* from chain_links as c order by c.link_id desc limit 1) as h on true
left join chain_links as b on b.link_id = l.link_id - 1
left join sealed_days as s on s.booking_date = e.booking_date
where e.entry_id = $1;
