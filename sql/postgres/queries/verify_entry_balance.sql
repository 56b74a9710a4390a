-- Every entry has its legs, and its debits equal its credits.
with leg as (
    select
        entry_id,
        count(*) as leg_count,
        sum(case side when 'D' then amount_micros else -amount_micros end) as difference
    from postings
    group by entry_id
),
violation as (
    select
        coalesce(e.entry_id, l.entry_id) as position,
        concat(
            'postings entry_id=', coalesce(e.entry_id, l.entry_id), ': ', coalesce(l.leg_count, 0),
            ' of ', coalesce(e.leg_count, 0), ' legs, debits less credits ', coalesce(l.difference, 0)
        ) as subject
    from journal_entries as e
    full join leg as l on l.entry_id = e.entry_id
    where l.leg_count is distinct from e.leg_count or l.difference is distinct from 0
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
