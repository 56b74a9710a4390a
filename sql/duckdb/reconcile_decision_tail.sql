-- The stream's last decision on each position, where the archive holds none yet.
create temporary table rc_decision as
select partition_id, record_offset, arg_max(click_id, log_offset) as click_id,
    arg_max(event_millis, log_offset) as event_millis, arg_max(verdict, log_offset) as verdict,
    arg_max(is_late, log_offset) as is_late, arg_max(policy_hash, log_offset) as policy_hash
from rc_tail
group by partition_id, record_offset;
