-- Every entry has its legs, and per currency its debits equal its credits.
with leg as (
    select
        entry_id,
        currency,
        count(*) as leg_count,
        sum(case side when 'D' then amount_micros else -amount_micros end) as difference
    from postings
    group by entry_id, currency
),
entry as (
    select entry_id, sum(leg_count) as leg_count, bool_or(difference <> 0) as is_unbalanced
    from leg
    group by entry_id
),
violation as (
    select 'entry ' || e.entry_id as subject
    from journal_entries as e
    left join entry as l on l.entry_id = e.entry_id
    where l.leg_count is distinct from e.leg_count or l.is_unbalanced
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
