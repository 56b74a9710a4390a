-- The day's dead letters by reason, those that the archive holds as clicks but the policy refuses
-- included. A dead letter belongs to the day of received_at.
with dead_letter as (
    select received_micros, reason from audit_dead_letter
    union all
    select received_micros, reason from audit_click where reason is not null
)
select reason, count(*) as dead_letters
from dead_letter
where received_micros >= getvariable('audit_start') * 1000
    and received_micros < getvariable('audit_end') * 1000
group by reason
order by reason;
