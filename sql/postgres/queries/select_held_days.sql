-- $1 first and $2 last day of a month: who was held when a day was last settled, by day.
select
    to_char(s.billing_date, 'YYYY-MM-DD') as billing_date,
    s.held
from (
    select distinct on (n.billing_date) n.billing_date, n.held
    from settlements as n
    where n.billing_date between $1 and $2
    order by n.billing_date, n.settlement_id desc
) as s
where cardinality(s.held) > 0
order by billing_date;
