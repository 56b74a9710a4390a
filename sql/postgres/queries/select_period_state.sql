-- $1 first day of a month: what stands in the way of closing it, and the next period.
select
    coalesce((select max(period_id) from closed_periods), 0) + 1 as period_id,
    exists (select from closed_periods where first_day = $1) as is_closed,
    coalesce(
        to_char((select max(last_day) from closed_periods), 'YYYY-MM-DD'), ''
    ) as closed_through,
    coalesce(to_char((
        select min(e.booking_date)
        from journal_entries as e
        where e.booking_date < $1
            and e.booking_date > coalesce((select max(last_day) from closed_periods), '-infinity')
    ), 'YYYY-MM-DD'), '') as open_before;
