-- The archive's dead_letters; dt and hr are the folder's day and hour.
create temporary view dead_letters as
select *
from read_parquet(
    getvariable('analyst_dead_letters'),
    hive_partitioning = true,
    hive_types = {'dt': date, 'hr': varchar, 'p': varchar});
