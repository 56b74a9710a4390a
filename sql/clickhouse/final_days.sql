-- The part of a day that is final: [day_start, cut_at). A cut never goes back: the highest counts.
create table if not exists csp_analytics.final_days (
    day_start DateTime,
    cut_at DateTime
) engine = ReplacingMergeTree(cut_at)
order by day_start
settings fsync_after_insert = 1, fsync_part_directory = 1;
