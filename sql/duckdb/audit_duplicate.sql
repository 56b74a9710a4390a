-- Duplicates by position. Most ids have one copy: a hash finds those that may have more.
create temporary table audit_repeated as
select hash(click_id) as id_hash
from audit_valid
group by id_hash
having count(*) > 1;

create temporary table audit_copy as
select
    click_id, partition_id, record_offset, received_micros, lookback_micros, ad_id, micros,
    row_number() over (
        partition by click_id order by received_micros, partition_id, record_offset
    ) as copy_number
from audit_valid
where hash(click_id) in (select id_hash from audit_repeated);

-- The first copy wins; the first one beyond its look-back, end included, wins next.
create temporary table audit_winner as
with recursive winner as (
    select click_id, copy_number, received_micros
    from audit_copy
    where copy_number = 1
    union all
    select c.click_id, min(c.copy_number), arg_min(c.received_micros, c.copy_number)
    from winner as w
    join audit_copy as c
        on c.click_id = w.click_id
        and c.copy_number > w.copy_number
        and c.received_micros - w.received_micros > c.lookback_micros
    group by c.click_id
)
select w.click_id, w.copy_number, c.ad_id, c.micros
from winner as w
join audit_copy as c on c.click_id = w.click_id and c.copy_number = w.copy_number;

create temporary table audit_duplicate as
select
    c.partition_id,
    c.record_offset,
    c.ad_id <> w.ad_id or c.micros <> w.micros as is_conflict
from audit_copy as c
asof join audit_winner as w
    on c.click_id = w.click_id and c.copy_number >= w.copy_number
where c.copy_number <> w.copy_number;
