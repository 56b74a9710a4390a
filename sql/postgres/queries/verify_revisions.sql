-- Per day and advertiser: revisions without gaps, the first a charge (or of a day that was closed),
-- the others adjustments and credits that name it; day totals that are the running sum.
with running as (
    select
        entry_id,
        kind,
        revision,
        original_entry_id,
        day_micros,
        booking_date > billing_date as is_after_close,
        row_number() over history as expected_revision,
        first_value(entry_id) over history as first_entry_id,
        sum(amount_micros) over history as summed_micros
    from journal_entries
    where kind in ('charge', 'adjustment', 'credit') and reference is null
    window history as (partition by billing_date, advertiser_id order by entry_id)
),
violation as (
    select
        entry_id as position,
        concat('journal_entries entry_id=', entry_id, ': out of the order of its day') as subject
    from running
    where revision <> expected_revision
        or (expected_revision = 1 and kind <> case when is_after_close then 'adjustment' else 'charge' end)
        or (expected_revision > 1 and kind = 'charge')
        or (
            original_entry_id is distinct from
            case when expected_revision > 1 then first_entry_id end
        )
        or day_micros <> summed_micros
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
