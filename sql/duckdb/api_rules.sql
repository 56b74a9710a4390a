-- $1 decisions.parquet of a day's result, $2 and $3 the day's begin and end in milliseconds: invalid clicks
-- by advertiser and rule, with what they would have cost. A click that several rules hit is in each.
with invalid as (
    select partition, "offset", unnest(rules) as rule
    from read_parquet($1::varchar)
    where verdict = 'invalid'
)
select
    c.advertiser_id,
    i.rule,
    count(*)::bigint as clicks,
    sum(c.cost_micros)::bigint as cost_micros
from invalid as i
join clicks as c on c.partition = i.partition and c."offset" = i."offset"
where epoch_ms(c.event_time) >= $2 and epoch_ms(c.event_time) < $3
group by c.advertiser_id, i.rule
order by c.advertiser_id, i.rule;
