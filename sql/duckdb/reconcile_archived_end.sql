-- The last offset that the batch could see, by partition.
create temporary table rc_archived_end as
select partition_id, max(record_offset) as last_offset from rc_archived group by partition_id;
