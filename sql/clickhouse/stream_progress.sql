-- How far the stream has published: the row of the highest sequence. Written after the rows.
-- next_offsets belong to the partition_ids at the same place.
create table if not exists csp_analytics.stream_progress (
    stream String,
    sequence UInt64,
    watermark_millis Int64,
    is_drained Bool,
    policy_hash String,
    partition_ids Array(Int32),
    next_offsets Array(Int64)
) engine = ReplacingMergeTree(sequence)
order by stream
settings fsync_after_insert = 1, fsync_part_directory = 1;
