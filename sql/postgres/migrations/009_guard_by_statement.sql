-- The guards of 004 for sets of rows: a statement notes which entries it touched, and one check at
-- commit looks at all of them at once. It is as strict as a check for each row, and a tenth of the
-- time. The functions run as their owner, so the role that posts cannot touch the notes.

-- +goose Up
drop trigger journal_entries_balance on journal_entries;
drop trigger postings_balance on postings;
drop trigger postings_references on postings;
drop function check_entry_balance();
drop function check_posting_references();

alter table journal_entries
    add constraint journal_entries_kind check (
        kind in ('charge', 'adjustment', 'credit', 'payment', 'reversal', 'transfer')
    ),
    -- A charge is the first entry of its day. What is first of a day that is closed already is an
    -- adjustment without an original.
    add constraint journal_entries_original check (
        case kind
            when 'charge' then original_entry_id is null
            when 'payment' then original_entry_id is null
            when 'adjustment' then original_entry_id is not null or booking_date > billing_date
            when 'credit' then original_entry_id is not null or reference is not null
            else original_entry_id is not null
        end
    ),
    add constraint journal_entries_reference check (
        case kind
            when 'payment' then reference is not null
            when 'reversal' then reference is not null and reason is not null
            when 'credit' then reference is null or reason is not null
            else reference is null
        end
    ),
    -- Only the batch's entries can wait in suspense.
    add constraint journal_entries_suspense check (
        not is_suspense or kind in ('charge', 'adjustment', 'credit') and reference is null
    ),
    add constraint journal_entries_booking check (booking_date >= billing_date);

-- Rows live from a statement to the commit of its transaction.
create table pending_checks (
    check_id bigint generated always as identity primary key,
    first_entry_id bigint not null,
    last_entry_id bigint not null
);

-- +goose StatementBegin
create function note_pending_check() returns trigger
language plpgsql security definer set search_path = public, pg_temp
as $$
begin
    insert into public.pending_checks (first_entry_id, last_entry_id)
    select min(a.entry_id), max(a.entry_id) from added as a having count(*) > 0;
    return null;
end;
$$;
-- +goose StatementEnd

-- Every entry has its legs, numbered from 1, in accounts of its currency; the first carries its
-- amount and their sum is zero; and no leg is without its entry.
-- +goose StatementBegin
create function check_pending_entries() returns trigger
language plpgsql security definer set search_path = public, pg_temp
as $$
declare
    wrong record;
begin
    if not exists (select from public.pending_checks as c where c.check_id = new.check_id) then
        return null; -- another note covered it
    end if;
    select coalesce(e.entry_id, p.entry_id) as entry_id, p.legs, e.leg_count, p.difference
    into wrong
    from (
        select j.entry_id, j.leg_count, j.currency, j.amount_micros
        from public.journal_entries as j
        where j.entry_id between new.first_entry_id and new.last_entry_id
    ) as e
    full join (
        select l.entry_id,
               count(*) as legs,
               max(l.leg) as last_leg,
               sum(case l.side when 'D' then l.amount_micros else -l.amount_micros end) as difference,
               sum(case when l.leg > 1 then 0 when l.side = 'D' then l.amount_micros
                   else -l.amount_micros end) as first_micros,
               min(l.currency) as currency,
               count(*) filter (where a.currency is distinct from l.currency) as orphans,
               min(l.currency) <> max(l.currency) as is_mixed
        from public.postings as l
        left join public.accounts as a on a.account_id = l.account_id
        where l.entry_id between new.first_entry_id and new.last_entry_id
        group by l.entry_id
    ) as p on p.entry_id = e.entry_id
    where e.entry_id is null
        or p.legs is distinct from e.leg_count
        or p.last_leg is distinct from e.leg_count
        or p.difference <> 0
        or p.first_micros <> e.amount_micros
        or p.orphans <> 0
        or p.is_mixed
        or p.currency is distinct from e.currency
    order by 1
    limit 1;
    if found then
        raise exception 'entry % does not balance: % of % legs, difference %',
            wrong.entry_id, wrong.legs, wrong.leg_count, wrong.difference
            using errcode = 'check_violation', constraint = 'postings_balance';
    end if;
    delete from public.pending_checks as c
    where c.first_entry_id >= new.first_entry_id and c.last_entry_id <= new.last_entry_id;
    return null;
end;
$$;
-- +goose StatementEnd

create constraint trigger pending_checks_balance
after insert on pending_checks
deferrable initially deferred
for each row execute function check_pending_entries();

create trigger journal_entries_pending
after insert on journal_entries
referencing new table as added
for each statement execute function note_pending_check();

create trigger postings_pending
after insert on postings
referencing new table as added
for each statement execute function note_pending_check();

-- Nothing is booked into a closed period. The lock keeps a month from closing meanwhile.
-- +goose StatementBegin
create function refuse_closed_period() returns trigger
language plpgsql security definer set search_path = public, pg_temp
as $$
declare
    booked date;
    closed date;
begin
    perform public.lock_ledger();
    select min(a.booking_date) into booked from added as a;
    select max(p.last_day) into closed from public.closed_periods as p;
    if booked <= closed then
        raise exception 'an entry booked on % is refused: the period is closed to %', booked, closed
            using errcode = 'check_violation', constraint = 'closed_period';
    end if;
    return null;
end;
$$;
-- +goose StatementEnd

create trigger journal_entries_period
after insert on journal_entries
referencing new table as added
for each statement execute function refuse_closed_period();

-- +goose StatementBegin
create function check_account_references() returns trigger
language plpgsql
as $$
declare
    orphan bigint;
begin
    select a.account_id
    into orphan
    from added as a
    left join public.advertisers as d on d.id = a.advertiser_id
    where a.advertiser_id is not null and d.id is null
    limit 1;
    if found then
        raise exception 'account % belongs to no registered advertiser', orphan
            using errcode = 'foreign_key_violation', constraint = 'accounts_advertiser';
    end if;
    return null;
end;
$$;
-- +goose StatementEnd

create trigger accounts_references
after insert on accounts
referencing new table as added
for each statement execute function check_account_references();

create index idx_journal_entries_booking on journal_entries using brin (booking_date)
with (autosummarize = on);

-- +goose Down
drop index idx_journal_entries_booking;
drop trigger accounts_references on accounts;
drop function check_account_references();
drop trigger journal_entries_period on journal_entries;
drop function refuse_closed_period();
drop trigger postings_pending on postings;
drop trigger journal_entries_pending on journal_entries;
drop trigger pending_checks_balance on pending_checks;
drop table pending_checks;
drop function check_pending_entries();
drop function note_pending_check();
alter table journal_entries
    drop constraint journal_entries_booking,
    drop constraint journal_entries_suspense,
    drop constraint journal_entries_reference,
    drop constraint journal_entries_original,
    drop constraint journal_entries_kind;

-- +goose StatementBegin
create function check_entry_balance() returns trigger
language plpgsql
as $$
declare
    legs bigint;
    last_leg smallint;
    difference numeric;
    is_mixed boolean;
    expected smallint;
begin
    select count(*),
           max(p.leg),
           sum(case p.side when 'D' then p.amount_micros else -p.amount_micros end),
           min(p.currency) <> max(p.currency)
    into legs, last_leg, difference, is_mixed
    from public.postings as p
    where p.entry_id = new.entry_id;
    if is_mixed then
        select max(abs(s.difference))
        into difference
        from (
            select sum(case p.side when 'D' then p.amount_micros else -p.amount_micros end) as difference
            from public.postings as p
            where p.entry_id = new.entry_id
            group by p.currency
        ) as s;
    end if;
    if tg_table_name = 'journal_entries' then
        expected := new.leg_count;
    else
        select e.leg_count into expected from public.journal_entries as e where e.entry_id = new.entry_id;
    end if;
    if legs is distinct from expected or last_leg is distinct from expected
        or difference is distinct from 0 then
        raise exception 'entry % does not balance: % of % legs, difference %',
            new.entry_id, legs, expected, difference
            using errcode = 'check_violation', constraint = 'postings_balance';
    end if;
    return null;
end;
$$;
-- +goose StatementEnd

create constraint trigger journal_entries_balance
after insert on journal_entries
deferrable initially deferred
for each row execute function check_entry_balance();

create constraint trigger postings_balance
after insert on postings
deferrable initially deferred
for each row when (new.leg > 2) execute function check_entry_balance();

-- +goose StatementBegin
create function check_posting_references() returns trigger
language plpgsql
as $$
declare
    orphan bigint;
begin
    select a.entry_id
    into orphan
    from added as a
    left join public.journal_entries as e on e.entry_id = a.entry_id
    left join public.accounts as c on c.account_id = a.account_id and c.currency = a.currency
    where e.entry_id is null or c.account_id is null
    limit 1;
    if found then
        raise exception 'a posting of entry % has no entry, or no account in its currency', orphan
            using errcode = 'foreign_key_violation', constraint = 'postings_references';
    end if;
    return null;
end;
$$;
-- +goose StatementEnd

create trigger postings_references
after insert on postings
referencing new table as added
for each statement execute function check_posting_references();
