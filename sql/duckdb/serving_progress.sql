select p.watermark_millis, p.is_drained, p.policy_hash, p.policy_from_millis, p.stored_at_millis, o.partition_id, o.next_offset
from csp_analytics.stream_progress as p
left join csp_analytics.stream_offset as o on true
order by o.partition_id;
