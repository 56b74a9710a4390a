-- The archive's decisions; dt and hr are the folder's day and hour.
create temporary view decisions as
select *
from read_parquet(
    getvariable('analyst_decisions'),
    hive_partitioning = true,
    hive_types = {'dt': date, 'hr': varchar, 'p': varchar});
