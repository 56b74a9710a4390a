-- The whole record of an invalid click or a dead letter, as clicks.dlq had it.
-- Arguments: partition, offset.
select coalesce("key", ''::blob) as record_key, coalesce("value", ''::blob) as record_value
from dlq
where "partition" = $1::integer and "offset" = $2::bigint
order by log_partition, log_offset
limit 1;
