-- Both layers by minute, over all advertisers.
with batch as (
    select minute_millis, sum(unique_clicks) as clicks, sum(spend_micros) as micros from rc_batch_row group by minute_millis
),
stream as (
    select minute_millis, sum(unique_clicks) as clicks, sum(spend_micros) as micros from rc_stream_row group by minute_millis
)
select minute_millis, coalesce(s.clicks, 0)::bigint, coalesce(b.clicks, 0)::bigint, coalesce(s.micros, 0)::bigint,
    coalesce(b.micros, 0)::bigint
from batch as b
full join stream as s using (minute_millis)
order by minute_millis;
