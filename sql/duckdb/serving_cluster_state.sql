-- Up to which minute the rows are laid out by advertiser, $1 or more rows at a time, and how many rows were
-- below it then and are now.
select
    c.until_minute,
    c.row_count,
    (
        select count(*)
        from csp_analytics.minutes_provisional
        where click_minute < c.until_minute
    ) as row_count_now
from csp_analytics.clustered as c
where c.table_name = 'minutes_provisional' and c.rows_at_once >= $1::bigint
order by c.until_minute desc
limit 1;
