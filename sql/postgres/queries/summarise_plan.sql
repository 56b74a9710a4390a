select
    count(*) as entries,
    count(*) filter (where kind = 'charge') as charges,
    count(*) filter (where kind = 'adjustment') as adjustments,
    count(*) filter (where kind = 'credit') as credits,
    coalesce(sum(amount_micros), 0)::bigint as delta_micros,
    count(*) filter (where is_suspense) as suspense_entries,
    coalesce(sum(amount_micros) filter (where is_suspense), 0)::bigint as suspense_micros
from entry_plan;
