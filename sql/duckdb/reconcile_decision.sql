-- The stream's last decision on each position.
set variable rc_decision_files = (select list(path order by path) from rc_file where kind = 'decision');
create temporary table rc_decision as
with archived as (
    select log_partition, log_offset, "partition" as partition_id, "offset" as record_offset, click_id,
        epoch_ms(event_time) as event_millis, verdict, is_late, policy_hash
    from read_parquet(getvariable('rc_decision_files'), hive_partitioning = false)
    union all
    select * from rc_tail
)
select partition_id, record_offset, arg_max(click_id, log_offset) as click_id,
    arg_max(event_millis, log_offset) as event_millis, arg_max(verdict, log_offset) as verdict,
    arg_max(is_late, log_offset) as is_late, arg_max(policy_hash, log_offset) as policy_hash
from archived
group by partition_id, record_offset;
