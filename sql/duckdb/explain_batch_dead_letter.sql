-- Why a batch result holds a record for a dead letter. Arguments: dead_letters.parquet, partition, offset.
select reason
from read_parquet($1::varchar, hive_partitioning = false)
where "partition" = $2::integer and "offset" = $3::bigint;
