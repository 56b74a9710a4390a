insert into csp_analytics.stream_progress (
    stream, sequence, watermark_millis, is_drained, policy_hash, policy_from_millis, stored_at_millis, partition_ids, next_offsets
)
