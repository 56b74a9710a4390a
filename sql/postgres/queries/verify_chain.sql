-- The chain, computed again link by link, and whether it reaches the newest rows.
with link as (
    select
        l.*,
        lag(l.last_account_id, 1, 0::bigint) over byid as from_account,
        lag(l.last_entry_id, 1, 0::bigint) over byid as from_entry,
        lag(l.last_settlement_id, 1, 0::bigint) over byid as from_settlement,
        lag(l.last_event_id, 1, 0::bigint) over byid as from_event,
        lag(l.last_period_id, 1, 0::bigint) over byid as from_period,
        lag(l.link_hash) over byid as hash_before
    from chain_links as l
    window byid as (order by l.link_id)
),
newest as (
    select
        coalesce(max(link_id), 0) as link_id,
        coalesce(max(last_account_id), 0) as last_account_id,
        coalesce(max(last_entry_id), 0) as last_entry_id,
        coalesce(max(last_settlement_id), 0) as last_settlement_id,
        coalesce(max(last_event_id), 0) as last_event_id,
        coalesce(max(last_period_id), 0) as last_period_id
    from chain_links
),
violation as (
    select
        l.link_id as position,
        concat(
            'chain_links link_id=', l.link_id, ': the rows that it covers are not what was linked, entries ',
            l.from_entry + 1, ' to ', l.last_entry_id
        ) as subject
    from link as l
    where l.content_hash <> ledger_content_hash(
        l.from_account, l.last_account_id, l.from_entry, l.last_entry_id, l.from_settlement,
        l.last_settlement_id, l.from_event, l.last_event_id, l.from_period, l.last_period_id
    )
    union all
    select l.link_id, concat('chain_links link_id=', l.link_id, ': not what its hash says')
    from link as l
    where l.link_hash <> ledger_link_hash(
        l.link_id, l.last_account_id, l.last_entry_id, l.last_settlement_id, l.last_event_id,
        l.last_period_id, l.content_hash, l.linked_at, l.hash_before
    )
    union all
    select n.link_id, concat('chain_links link_id=', n.link_id + 1, ': missing, the newest rows are in no link')
    from newest as n
    where exists (select from accounts as t where t.account_id > n.last_account_id)
        or exists (select from journal_entries as t where t.entry_id > n.last_entry_id)
        or exists (select from settlements as t where t.settlement_id > n.last_settlement_id)
        or exists (select from advertiser_events as t where t.event_id > n.last_event_id)
        or exists (select from closed_periods as t where t.period_id > n.last_period_id)
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
