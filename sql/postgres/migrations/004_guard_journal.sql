-- What no program may break: entries balance, and nothing that was posted is ever edited.

-- +goose Up
-- +goose StatementBegin
create function check_entry_balance() returns trigger
language plpgsql
set search_path from current
as $$
declare
    legs bigint;
    last_leg smallint;
    expected smallint;
    unbalanced boolean;
begin
    select sum(s.leg_count), max(s.last_leg), bool_or(s.difference <> 0)
    into legs, last_leg, unbalanced
    from (
        select count(*) as leg_count,
               max(p.leg) as last_leg,
               sum(case p.side when 'D' then p.amount_micros else -p.amount_micros end) as difference
        from postings as p
        where p.entry_id = new.entry_id
        group by p.currency
    ) as s;
    select e.leg_count into expected from journal_entries as e where e.entry_id = new.entry_id;
    if legs is distinct from expected or last_leg is distinct from expected or unbalanced then
        raise exception 'entry % does not balance: % of % legs', new.entry_id, coalesce(legs, 0), expected
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
drop trigger postings_balance on postings;
drop trigger journal_entries_balance on journal_entries;
drop function check_entry_balance();
