-- What results of the batch hold against clicks, by position; a click that is not here is billable.
create or replace temporary view explain_judged as
select
    "partition"::integer as partition_id, "offset"::bigint as record_offset, verdict,
    array_to_string(rules, ',') as rules, '' as reason
from read_parquet(getvariable('explain_decisions'), hive_partitioning = false)
union all
select "partition"::integer, "offset"::bigint, 'dead_letter', '', reason
from read_parquet(getvariable('explain_dead_letters'), hive_partitioning = false);
