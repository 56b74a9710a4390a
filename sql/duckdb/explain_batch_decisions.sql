-- A batch result's decisions on the copies of a click_id. Arguments: decisions.parquet, click_id.
select
    "partition"::integer as partition_id, "offset"::bigint as record_offset, verdict,
    array_to_string(rules, ',') as rules, false as is_late,
    winner_partition::integer as winner_partition, winner_offset::bigint as winner_offset,
    is_conflict, '' as policy_hash
from read_parquet($1::varchar, hive_partitioning = false)
where click_id = $2::varchar
order by partition_id, record_offset;
