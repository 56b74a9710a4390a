-- Who is registered already stays as he is.
insert into advertisers (id, name, credit_limit)
select s.id, s.name, coalesce(s.credit_limit, 1000.00)
from advertiser_stage as s
order by s.id collate "C"
on conflict (id) do nothing;
