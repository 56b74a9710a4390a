-- $1 discrepancies.parquet of a day: batch less stream of the advertiser $2, by cause.
select cause, sum(delta_clicks)::bigint as clicks, sum(delta_micros)::bigint as micros
from read_parquet($1::varchar)
where advertiser_id = $2::varchar
group by cause
order by cause;
