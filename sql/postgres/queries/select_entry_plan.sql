-- The entries of the plan, what moves most first.
select
    advertiser_id,
    kind,
    booking_date,
    original_entry_id,
    day_micros - amount_micros as posted_micros,
    day_micros,
    amount_micros,
    day_clicks,
    coalesce(day_invalid_clicks, 0) as day_invalid_clicks,
    is_suspense,
    coalesce(reason, '') as reason
from entry_plan
order by abs(amount_micros) desc, advertiser_id collate "C";
