-- What the written discrepancies come to, by advertiser and cause.
select advertiser_id, cause, sum(delta_clicks)::bigint, sum(delta_micros)::bigint, sum(abs(delta_clicks))::bigint, count(*)
from read_parquet(getvariable('rc_discrepancies_written'))
group by advertiser_id, cause
order by advertiser_id, cause;
