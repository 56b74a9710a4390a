-- The archive's records of the topic clicks.dlq; dt and hr are the folder's day and hour.
create temporary view dlq as
select *
from read_parquet(
    getvariable('analyst_dlq'),
    hive_partitioning = true,
    hive_types = {'dt': date, 'hr': varchar, 'p': varchar});
