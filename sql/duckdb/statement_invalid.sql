-- $1 decisions.parquet of the day's result, $2 advertiser, $3 and $4 the day's begin and cut in
-- milliseconds: his invalid clicks by campaign and rule, with what they would have cost. A click that
-- several rules hit is in each of them.
with invalid as (
    select partition, "offset", unnest(rules) as rule
    from read_parquet($1::varchar)
    where verdict = 'invalid'
)
select
    c.campaign_id,
    i.rule,
    count(*)::bigint as clicks,
    sum(c.cost_micros)::bigint as cost_micros
from invalid as i
join clicks as c on c.partition = i.partition and c."offset" = i."offset"
where c.advertiser_id = $2 and epoch_ms(c.event_time) >= $3 and epoch_ms(c.event_time) < $4
group by c.campaign_id, i.rule
order by c.campaign_id, i.rule;
