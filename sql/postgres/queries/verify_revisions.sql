-- Per day and advertiser: revisions without gaps, the first a charge, the others adjustments that
-- name it; day totals that are the running sum.
with running as (
    select
        entry_id,
        kind,
        revision,
        original_entry_id,
        day_micros,
        row_number() over history as expected_revision,
        first_value(entry_id) over history as first_entry_id,
        sum(amount_micros) over history as summed_micros
    from journal_entries
    where kind in ('charge', 'adjustment')
    window history as (partition by billing_date, advertiser_id order by entry_id)
),
violation as (
    select 'entry ' || entry_id as subject
    from running
    where revision <> expected_revision
        or (kind = 'charge') <> (expected_revision = 1)
        or (kind = 'adjustment' and original_entry_id is distinct from first_entry_id)
        or day_micros <> summed_micros
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.subject collate "C"))[1:5] as samples
from violation as v;
