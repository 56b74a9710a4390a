-- Networks as ranges of numbers. An IPv4 network holds IPv4 addresses, mapped ones included, an
-- IPv6 network the others; a network of mapped addresses (from /96 on) is an IPv4 network.
create temporary table audit_network as
with parsed as (
    select
        c.revision,
        case when a.number is null
            then ip4_number(split_part(c.cidr, '/', 1))::uhugeint + 281470681743360
            else a.number end as number,
        case when a.number is null then true
            else a.is_4 and split_part(c.cidr, '/', 2)::integer >= 96 end as is_4,
        split_part(c.cidr, '/', 2)::integer + case when a.number is null then 96 else 0 end as bits
    from audit_cidr as c
    left join audit_address as a on a.ip_address = split_part(c.cidr, '/', 1)
), sized as (
    select
        revision, is_4, number,
        case when bits = 0 then 0::uhugeint else 1::uhugeint << (128 - bits)::uhugeint end as size
    from parsed
)
select
    revision,
    is_4,
    case when size = 0 then 0::uhugeint else number // size * size end as low,
    case when size = 0 then 340282366920938463463374607431768211455::uhugeint
        else number // size * size + (size - 1) end as high
from sized;

create temporary table audit_listed_ip as
with seen as (
    select distinct revision, ip_address
    from audit_valid
    where event_millis >= getvariable('audit_start') and event_millis < getvariable('audit_end')
        and ip_address <> ''
        and revision in (select revision from audit_network)
), numbered as (
    -- IPv4 as if it were mapped.
    select
        s.revision,
        s.ip_address,
        coalesce(a.is_4, true) as is_4,
        case when a.number is null then ip4_number(s.ip_address)::uhugeint + 281470681743360
            else a.number end as number
    from seen as s
    left join audit_address as a on a.ip_address = s.ip_address
)
select distinct n.revision, n.ip_address
from numbered as n
join audit_network as w
    on n.revision = w.revision and n.is_4 = w.is_4 and n.number >= w.low and n.number <= w.high;

insert into audit_list_hit
select v.partition_id, v.record_offset, 'listed_ip'
from audit_valid as v
join audit_listed_ip as l on l.revision = v.revision and l.ip_address = v.ip_address
where v.event_millis >= getvariable('audit_start') and v.event_millis < getvariable('audit_end');
