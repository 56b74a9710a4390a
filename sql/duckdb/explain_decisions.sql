-- The stream's last decision on each copy of a click_id. Argument: click_id.
select
    "partition"::integer as partition_id, "offset"::bigint as record_offset,
    arg_max(verdict, log_offset) as verdict, arg_max(coalesce(rules, ''), log_offset) as rules,
    arg_max(is_late, log_offset) as is_late,
    arg_max(winner_partition, log_offset)::integer as winner_partition,
    arg_max(winner_offset, log_offset)::bigint as winner_offset,
    arg_max(is_conflict, log_offset) as is_conflict,
    arg_max(policy_hash, log_offset) as policy_hash
from decisions
where click_id = $1::varchar
group by partition_id, record_offset
order by partition_id, record_offset;
