-- The effect of each cause, batch less stream, by advertiser; gross counts clicks of either sign.
select advertiser_id, cause, sum(clicks)::bigint, sum(micros)::bigint, sum(abs(clicks))::bigint, sum(abs(micros))::bigint
from rc_effect
group by advertiser_id, cause
order by advertiser_id, cause;
