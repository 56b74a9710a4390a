-- Every advertiser is as his last event says, and nobody who was registered is missing.
with latest as (
    select distinct on (advertiser_id) advertiser_id, name, credit_limit, registered_at
    from advertiser_events
    order by advertiser_id, event_id desc
),
violation as (
    select
        0 as position,
        concat(
            'advertisers id=', coalesce(a.id, v.advertiser_id),
            case
                when a.id is null then ': missing'
                when v.advertiser_id is null then ': no event says that he was registered'
                else ': not what the last event says'
            end
        ) as subject
    from advertisers as a
    full join latest as v on v.advertiser_id = a.id
    where a.id is null
        or v.advertiser_id is null
        or a.name <> v.name
        or a.credit_limit <> v.credit_limit
        or a.created_at is distinct from v.registered_at
)
select
    count(*) as violations,
    (array_agg(v.subject order by v.position, v.subject collate "C"))[1:20] as samples
from violation as v;
