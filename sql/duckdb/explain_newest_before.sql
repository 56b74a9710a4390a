-- The newest received_at of a partition's clicks in one object up to an offset.
-- Arguments: the object, offset.
select coalesce(max(epoch_us(received_at)), 0)::bigint as received_micros
from read_parquet($1::varchar, hive_partitioning = false)
where "offset" < $2::bigint;
