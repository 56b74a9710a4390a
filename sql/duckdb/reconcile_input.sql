-- What the caller fills in before a reconciliation runs; see internal/reconcileduck.
create temporary table rc_file (kind varchar, path varchar);
-- Below next_offset every click of the partition has been judged and published by the stream.
create temporary table rc_frontier (partition_id integer, next_offset bigint);
-- Decisions that are in the log and not in the archive yet.
create temporary table rc_tail (
    log_partition integer, log_offset bigint, partition_id integer, record_offset bigint, click_id varchar,
    event_millis bigint, verdict varchar, is_late boolean, policy_hash varchar
);
