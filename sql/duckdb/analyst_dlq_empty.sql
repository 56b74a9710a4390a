create temporary view dlq as
select
    null::integer as log_partition, null::bigint as log_offset, null::integer as "partition",
    null::bigint as "offset", null::timestamptz as received_at, null::varchar as verdict,
    null::varchar as reason, null::blob as "key", null::blob as "value",
    null::date as dt, null::varchar as hr, null::varchar as p
where false;
