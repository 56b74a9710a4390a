-- Whoever adds to the ledger, or registers or changes an advertiser, leaves a link of the chain. What
-- was there before the chain becomes its first link.

-- +goose Up
-- Adds a link for everything that has come since the last one, if anything has.
-- +goose StatementBegin
create function append_chain_link() returns void
language plpgsql security definer set search_path = public, pg_temp
as $$
declare
    before public.chain_links;
    added public.chain_links;
begin
    perform public.lock_ledger();
    select * into before from public.chain_links as l order by l.link_id desc limit 1;
    select coalesce(max(t.account_id), 0) into added.last_account_id from public.accounts as t;
    select coalesce(max(t.entry_id), 0) into added.last_entry_id from public.journal_entries as t;
    select coalesce(max(t.settlement_id), 0) into added.last_settlement_id from public.settlements as t;
    select coalesce(max(t.event_id), 0) into added.last_event_id from public.advertiser_events as t;
    select coalesce(max(t.period_id), 0) into added.last_period_id from public.closed_periods as t;
    if (added.last_account_id, added.last_entry_id, added.last_settlement_id, added.last_event_id,
        added.last_period_id)
        = (coalesce(before.last_account_id, 0), coalesce(before.last_entry_id, 0),
        coalesce(before.last_settlement_id, 0), coalesce(before.last_event_id, 0),
        coalesce(before.last_period_id, 0)) then
        return;
    end if;
    added.link_id := coalesce(before.link_id, 0) + 1;
    added.linked_at := current_timestamp;
    added.content_hash := public.ledger_content_hash(
        coalesce(before.last_account_id, 0), added.last_account_id,
        coalesce(before.last_entry_id, 0), added.last_entry_id,
        coalesce(before.last_settlement_id, 0), added.last_settlement_id,
        coalesce(before.last_event_id, 0), added.last_event_id,
        coalesce(before.last_period_id, 0), added.last_period_id
    );
    added.link_hash := public.ledger_link_hash(
        added.link_id, added.last_account_id, added.last_entry_id, added.last_settlement_id,
        added.last_event_id, added.last_period_id, added.content_hash, added.linked_at, before.link_hash
    );
    insert into public.chain_links values (added.*);
end;
$$;
-- +goose StatementEnd

-- +goose StatementBegin
create function note_registered_advertisers() returns trigger
language plpgsql security definer set search_path = public, pg_temp
as $$
begin
    if not exists (select from added) then
        return null;
    end if;
    perform public.lock_ledger();
    insert into public.advertiser_events (
        event_id, advertiser_id, kind, name, credit_limit, registered_at, balance, event_hash
    )
    select n.event_id, n.id, 'registered', n.name, n.credit_limit, n.created_at, n.current_balance,
           public.ledger_event_hash(
               n.event_id, n.id, 'registered', n.name, n.credit_limit, n.created_at,
               n.current_balance, current_timestamp
           )
    from (
        select a.*,
               (select coalesce(max(v.event_id), 0) from public.advertiser_events as v)
               + row_number() over (order by a.id collate "C") as event_id
        from added as a
    ) as n;
    perform public.append_chain_link();
    return null;
end;
$$;
-- +goose StatementEnd

create trigger advertisers_registered
after insert on advertisers
referencing new table as added
for each statement execute function note_registered_advertisers();

-- +goose StatementBegin
create function note_changed_advertiser() returns trigger
language plpgsql security definer set search_path = public, pg_temp
as $$
begin
    if (new.id, new.created_at) is distinct from (old.id, old.created_at) then
        raise exception 'advertiser % keeps its id and time of registration', old.id
            using errcode = 'insufficient_privilege', constraint = 'append_only';
    end if;
    if (new.name, new.credit_limit) is not distinct from (old.name, old.credit_limit) then
        return null;
    end if;
    perform public.lock_ledger();
    insert into public.advertiser_events (
        event_id, advertiser_id, kind, name, credit_limit, registered_at, balance, event_hash
    )
    select v.event_id, new.id, 'changed', new.name, new.credit_limit, new.created_at,
           new.current_balance,
           public.ledger_event_hash(
               v.event_id, new.id, 'changed', new.name, new.credit_limit, new.created_at,
               new.current_balance, current_timestamp
           )
    from (select coalesce(max(e.event_id), 0) + 1 as event_id from public.advertiser_events as e) as v;
    perform public.append_chain_link();
    return null;
end;
$$;
-- +goose StatementEnd

-- Postings change current_balance alone, and so do not come here.
create trigger advertisers_changed
after update of id, name, credit_limit, created_at on advertisers
for each row execute function note_changed_advertiser();

create trigger advertisers_kept
before delete or truncate on advertisers
for each statement execute function refuse_change();

create trigger advertiser_events_append_only
before update or delete or truncate on advertiser_events
for each statement execute function refuse_change();

create trigger closed_periods_append_only
before update or delete or truncate on closed_periods
for each statement execute function refuse_change();

create trigger sealed_days_append_only
before update or delete or truncate on sealed_days
for each statement execute function refuse_change();

create trigger chain_links_append_only
before update or delete or truncate on chain_links
for each statement execute function refuse_change();

-- What is there already.
alter table accounts disable trigger accounts_append_only;
alter table journal_entries disable trigger journal_entries_append_only;
alter table settlements disable trigger settlements_append_only;

update accounts set account_hash = ledger_account_hash(account_id, account_kind, advertiser_id, currency);

update journal_entries as e
set booking_date = e.billing_date,
    entry_hash = ledger_entry_hash(
        e.entry_id, e.idempotency_key, e.payload_hash, e.billing_date, e.billing_date,
        e.advertiser_id, e.kind, e.revision, e.original_entry_id, e.currency, e.amount_micros,
        e.day_micros, e.day_clicks, e.day_invalid_clicks, e.is_suspense, e.cumulative_micros,
        e.leg_count, e.policy_hash, e.run_id, e.reference, e.reason, e.posted_at, p.legs
    )
from (
    select l.entry_id,
           string_agg(
               ledger_leg(l.leg, l.account_id, l.currency, l.side, l.amount_micros), ';' order by l.leg
           ) as legs
    from postings as l
    group by l.entry_id
) as p
where p.entry_id = e.entry_id;

update settlements
set settlement_hash = ledger_settlement_hash(
    settlement_id, run_id, billing_date, currency, policy_hash, advertisers, held_advertisers,
    suspense_advertisers, posted_entries, delta_micros, posted_at, result, result_hash, cut_at, held
);

alter table accounts enable trigger accounts_append_only;
alter table journal_entries enable trigger journal_entries_append_only;
alter table settlements enable trigger settlements_append_only;

alter table accounts alter column account_hash set not null;
alter table journal_entries
    alter column booking_date set not null,
    alter column entry_hash set not null;
alter table settlements alter column settlement_hash set not null;

insert into advertiser_events (
    event_id, advertiser_id, kind, name, credit_limit, registered_at, balance, event_hash
)
select
    a.event_id, a.id, 'registered', a.name, a.credit_limit, a.created_at, a.current_balance,
    ledger_event_hash(
        a.event_id, a.id, 'registered', a.name, a.credit_limit, a.created_at, a.current_balance,
        current_timestamp
    )
from (
    select d.*, row_number() over (order by d.id collate "C") as event_id from advertisers as d
) as a;

select append_chain_link();

-- The application role appends and reads. Links and notes are made by functions alone.
-- +goose StatementBegin
do $$
begin
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        grant select, insert on advertiser_events, closed_periods, sealed_days to clickledger_app;
        grant select on chain_links to clickledger_app;
    end if;
end;
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
do $$
begin
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        revoke all on advertiser_events, closed_periods, sealed_days, chain_links from clickledger_app;
    end if;
end;
$$;
-- +goose StatementEnd
alter table settlements alter column settlement_hash drop not null;
alter table journal_entries alter column booking_date drop not null, alter column entry_hash drop not null;
alter table accounts alter column account_hash drop not null;
drop trigger chain_links_append_only on chain_links;
drop trigger sealed_days_append_only on sealed_days;
drop trigger closed_periods_append_only on closed_periods;
drop trigger advertiser_events_append_only on advertiser_events;
drop trigger advertisers_kept on advertisers;
drop trigger advertisers_changed on advertisers;
drop function note_changed_advertiser();
drop trigger advertisers_registered on advertisers;
drop function note_registered_advertisers();
drop function append_chain_link();
