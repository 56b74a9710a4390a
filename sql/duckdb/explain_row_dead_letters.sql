-- Dead letters of the archive that may be an advertiser's: its id's bytes are in their value. A
-- policy that accepts one makes it a click. Arguments: advertiser_id, first received_at and the end
-- in microseconds.
select
    l."partition"::integer as partition_id, l."offset"::bigint as record_offset,
    epoch_us(l.received_at)::bigint as received_micros, coalesce(l."value", ''::blob) as record_value,
    coalesce(j.verdict, '') as batch_verdict, coalesce(j.rules, '') as batch_rules
from dead_letters as l
left join explain_judged as j
    on j.partition_id = l."partition" and j.record_offset = l."offset"
where l.received_at >= make_timestamptz($2::bigint) and l.received_at < make_timestamptz($3::bigint)
    and contains(hex(l."value"), hex(encode($1::varchar)))
order by partition_id, record_offset;
