-- $1 minutes.parquet of the day's result, $2 advertiser, $3 the cut in milliseconds: his clicks by
-- campaign.
select
    campaign_id,
    sum(raw_clicks)::bigint as clicks,
    sum(unique_clicks)::bigint as billable_clicks,
    sum(duplicate_clicks)::bigint as duplicate_clicks,
    sum(invalid_clicks)::bigint as invalid_clicks,
    sum(spend_micros)::bigint as spend_micros
from read_parquet($1::varchar)
where advertiser_id = $2 and epoch_ms(click_minute) < $3
group by campaign_id
order by campaign_id;
