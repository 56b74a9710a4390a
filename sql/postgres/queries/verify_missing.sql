-- IDs are given out without gaps, so a missing row is a gap, or an end below the chain's.
with numbered as (
    select
        'accounts account_id=' as name,
        account_id as id,
        lag(account_id, 1, 0::bigint) over (order by account_id) as id_before
    from accounts
    union all
    select
        'journal_entries entry_id=',
        entry_id,
        lag(entry_id, 1, 0::bigint) over (order by entry_id)
    from journal_entries
    union all
    select
        'settlements settlement_id=',
        settlement_id,
        lag(settlement_id, 1, 0::bigint) over (order by settlement_id)
    from settlements
    union all
    select
        'advertiser_events event_id=',
        event_id,
        lag(event_id, 1, 0::bigint) over (order by event_id)
    from advertiser_events
    union all
    select
        'closed_periods period_id=',
        period_id,
        lag(period_id, 1, 0::bigint) over (order by period_id)
    from closed_periods
    union all
    select
        'chain_links link_id=',
        link_id,
        lag(link_id, 1, 0::bigint) over (order by link_id)
    from chain_links
),
ending as (
    select e.name, e.last_id + 1 as id, e.id_before
    from chain_links as l
    cross join lateral (
        values
        ('accounts account_id=', l.last_account_id, (select max(account_id) from accounts)),
        ('journal_entries entry_id=', l.last_entry_id, (select max(entry_id) from journal_entries)),
        ('settlements settlement_id=', l.last_settlement_id, (select max(settlement_id) from settlements)),
        ('advertiser_events event_id=', l.last_event_id, (select max(event_id) from advertiser_events)),
        ('closed_periods period_id=', l.last_period_id, (select max(period_id) from closed_periods))
    ) as e (name, last_id, id_before)
    where l.link_id = (select max(link_id) from chain_links)
),
violation as (
    select
        g.id_before as position,
        concat(
            g.name, coalesce(g.id_before, 0) + 1,
            case when g.id - coalesce(g.id_before, 0) > 2 then concat(' to ', g.id - 1) end, ': missing'
        ) as subject
    from (select * from numbered union all select * from ending) as g
    where g.id > coalesce(g.id_before, 0) + 1
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
