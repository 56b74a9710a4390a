insert into csp_analytics.stream_progress (
    stream, sequence, watermark_millis, is_drained, policy_hash, partition_ids, next_offsets
)
