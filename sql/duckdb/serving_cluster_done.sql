-- Notes that the rows of minutes before $1 are laid out by advertiser, $2 rows at a time.
merge into csp_analytics.clustered as c
using (
    select
        'minutes_provisional' as table_name,
        $2::bigint as rows_at_once,
        $1::timestamp as until_minute,
        (
            select count(*)
            from csp_analytics.minutes_provisional
            where click_minute < $1::timestamp
        ) as row_count
) as n
on c.table_name = n.table_name and c.rows_at_once = n.rows_at_once
when matched then update set until_minute = n.until_minute, row_count = n.row_count
when not matched then insert values (n.table_name, n.rows_at_once, n.until_minute, n.row_count);
