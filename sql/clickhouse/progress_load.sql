select sequence, watermark_millis, is_drained, policy_hash, policy_from_millis, stored_at_millis, partition_ids, next_offsets
from csp_analytics.stream_progress
where stream = {stream:String}
order by sequence desc
limit 1;
