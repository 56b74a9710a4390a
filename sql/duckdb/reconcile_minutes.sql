-- Both layers by minute, over all advertisers.
select minute_millis, sum(stream_clicks)::bigint, sum(batch_clicks)::bigint, sum(stream_micros)::bigint, sum(batch_micros)::bigint
from rc_row
group by minute_millis
order by minute_millis;
