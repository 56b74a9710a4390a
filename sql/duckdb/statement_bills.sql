-- $1 minutes.parquet of a day's result, $2 the cut in milliseconds: what every advertiser owes.
select advertiser_id, sum(spend_micros)::bigint as spend_micros
from read_parquet($1::varchar)
where epoch_ms(click_minute) < $2
group by advertiser_id
having sum(spend_micros) > 0
order by advertiser_id;
