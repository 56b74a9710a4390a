set variable audit_dead_letter_files = (
    select list(path order by path) from audit_dead_letter_file
);
create temporary view audit_dead_letter as
select epoch_us(received_at) as received_micros, reason
from read_parquet(getvariable('audit_dead_letter_files'), hive_partitioning = false);
