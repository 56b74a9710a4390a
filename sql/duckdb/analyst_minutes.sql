-- The rows of the newest result of the batch for each day; dt and rev are the day and the revision.
create temporary view minutes as
select *
from read_parquet(
    getvariable('analyst_minutes'),
    hive_partitioning = true,
    hive_types = {'dt': date, 'rev': integer});
