-- The archive's clicks; dt and hr are the folder's day and hour.
create temporary view clicks as
select *
from read_parquet(
    getvariable('analyst_clicks'),
    hive_partitioning = true,
    hive_types = {'dt': date, 'hr': varchar, 'p': varchar});
