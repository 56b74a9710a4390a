-- Both layers' totals, by advertiser.
select advertiser_id,
    sum(batch_raw)::bigint, sum(batch_duplicates)::bigint, sum(batch_invalid)::bigint, sum(batch_clicks)::bigint, sum(batch_micros)::bigint,
    sum(stream_raw)::bigint, sum(stream_duplicates)::bigint, sum(stream_invalid)::bigint, sum(stream_clicks)::bigint, sum(stream_micros)::bigint
from rc_row
group by advertiser_id
order by advertiser_id;
