-- What no program may break: entries balance, and nothing that was posted is ever edited. The
-- functions name the schema, so that no temporary table can stand in for a real one.

-- +goose Up
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

-- Checked at commit, once per entry. An entry declares its number of legs, and they are numbered
-- from 1 without a gap, so every entry that was ever committed has legs 1 and 2 (the primary key
-- refuses them a second time); a leg that is added later has a higher number, and is checked by the
-- second trigger. So the usual posting needs no check of its own beside its entry's.
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

-- +goose StatementBegin
create function refuse_change() returns trigger
language plpgsql
as $$
begin
    raise exception '% of % is refused: what was posted is corrected by a new entry', tg_op, tg_table_name
        using errcode = 'insufficient_privilege', constraint = 'append_only';
end;
$$;
-- +goose StatementEnd

create trigger journal_entries_append_only
before update or delete or truncate on journal_entries
for each statement execute function refuse_change();

create trigger postings_append_only
before update or delete or truncate on postings
for each statement execute function refuse_change();

create trigger billing_ledger_append_only
before update or delete or truncate on billing_ledger
for each statement execute function refuse_change();

create trigger settlements_append_only
before update or delete or truncate on settlements
for each statement execute function refuse_change();

create trigger accounts_append_only
before update or delete or truncate on accounts
for each statement execute function refuse_change();

-- +goose Down
drop trigger accounts_append_only on accounts;
drop trigger settlements_append_only on settlements;
drop trigger billing_ledger_append_only on billing_ledger;
drop trigger postings_append_only on postings;
drop trigger journal_entries_append_only on journal_entries;
drop function refuse_change();
drop trigger postings_references on postings;
drop function check_posting_references();
drop trigger postings_balance on postings;
drop trigger journal_entries_balance on journal_entries;
drop function check_entry_balance();
