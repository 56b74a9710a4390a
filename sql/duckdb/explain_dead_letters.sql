-- Dead letters that may be of a click_id: its bytes are their key or in their value.
-- Arguments: click_id, most rows.
select
    "partition"::integer as partition_id, "offset"::bigint as record_offset,
    epoch_us(received_at)::bigint as received_micros, coalesce(reason, '') as reason,
    coalesce("key", ''::blob) as record_key, coalesce("value", ''::blob) as record_value
from dead_letters
where
    "key" = encode($1::varchar)
    or contains(hex("value"), hex(encode($1::varchar)))
order by received_micros, partition_id, record_offset
limit $2::bigint;
