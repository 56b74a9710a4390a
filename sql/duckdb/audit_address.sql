-- Addresses as text. What is in the archive is a valid address without a zone, or empty. IPv4 has
-- one spelling only; this table holds every other spelling that is seen, with its number, whether
-- it is IPv4 (mapped), and a text that is equal for all spellings of one address.
create temporary macro ip4_number(ip) as (
    split_part(ip, '.', 1)::ubigint * 16777216 + split_part(ip, '.', 2)::ubigint * 65536
    + split_part(ip, '.', 3)::ubigint * 256 + split_part(ip, '.', 4)::ubigint
);

create temporary table audit_address as
with seen as (
    select distinct ip_address
    from audit_valid
    where contains(ip_address, ':')
        and event_millis >= getvariable('audit_horizon') and event_millis < getvariable('audit_end')
    union
    select split_part(cidr, '/', 1) from audit_cidr where contains(cidr, ':')
), split as (
    select ip_address, regexp_extract(ip_address, '[^:]*$') as tail
    from seen
), hexadecimal as (
    -- An IPv4 address at the end stands for two groups.
    select
        ip_address,
        case when contains(tail, '.') then
            regexp_replace(ip_address, '[^:]*$', '')
            || printf('%x:%x', ip4_number(tail) // 65536, ip4_number(tail) % 65536)
        else ip_address end as hex
    from split
), sided as (
    select
        ip_address,
        list_filter(string_split(split_part(hex, '::', 1), ':'), lambda g: g <> '') as before,
        list_filter(string_split(split_part(hex, '::', 2), ':'), lambda g: g <> '') as after
    from hexadecimal
), grouped as (
    -- '::' stands for as many zeros as are missing from eight.
    select
        ip_address,
        list_concat(
            before,
            list_transform(range(8 - len(before) - len(after)), lambda i: '0'),
            after) as groups
    from sided
), written_out as (
    select
        ip_address,
        lower(array_to_string(list_transform(groups, lambda g: lpad(g, 4, '0')), '')) as digits
    from grouped
), numbered as (
    select
        ip_address,
        digits,
        ('0x' || left(digits, 16))::ubigint::uhugeint * 18446744073709551616::uhugeint
            + ('0x' || right(digits, 16))::ubigint as number
    from written_out
), known as (
    -- ::ffff:0:0/96 is IPv4.
    select *, starts_with(digits, '00000000000000000000ffff') as is_4
    from numbered
)
select
    ip_address,
    number,
    is_4,
    case when is_4 then concat_ws('.',
        (number // 16777216 % 256)::varchar, (number // 65536 % 256)::varchar,
        (number // 256 % 256)::varchar, (number % 256)::varchar)
    else digits end as canonical
from known;
