-- Both layers' totals, by advertiser.
with batch as (
    select advertiser_id, sum(raw_clicks) as raw, sum(duplicate_clicks) as duplicates, sum(invalid_clicks) as invalid,
        sum(unique_clicks) as clicks, sum(spend_micros) as micros
    from rc_batch_row
    group by advertiser_id
),
stream as (
    select advertiser_id, sum(raw_clicks) as raw, sum(duplicate_clicks) as duplicates, sum(invalid_clicks) as invalid,
        sum(unique_clicks) as clicks, sum(spend_micros) as micros
    from rc_stream_row
    group by advertiser_id
)
select advertiser_id,
    coalesce(b.raw, 0)::bigint, coalesce(b.duplicates, 0)::bigint, coalesce(b.invalid, 0)::bigint,
    coalesce(b.clicks, 0)::bigint, coalesce(b.micros, 0)::bigint,
    coalesce(s.raw, 0)::bigint, coalesce(s.duplicates, 0)::bigint, coalesce(s.invalid, 0)::bigint,
    coalesce(s.clicks, 0)::bigint, coalesce(s.micros, 0)::bigint
from batch as b
full join stream as s using (advertiser_id)
order by advertiser_id;
