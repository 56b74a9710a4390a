-- Double entry below the lesson's tables: exact micros, one entry per (billing date, advertiser,
-- kind, revision), at least two postings per entry.

-- +goose Up
create table accounts (
    account_id bigint primary key,
    account_kind text not null check (account_kind in ('receivable', 'revenue', 'suspense')),
    advertiser_id varchar(64) references advertisers (id) on delete restrict,
    currency char(3) not null check (currency ~ '^[A-Z]{3}$'),
    -- A receivable belongs to one advertiser, the others belong to the house.
    check ((account_kind = 'receivable') = (advertiser_id is not null))
);

-- An advertiser is billed in one currency, for good.
create unique index accounts_receivable_key on accounts (advertiser_id)
where account_kind = 'receivable';
create unique index accounts_house_key on accounts (account_kind, currency)
where account_kind <> 'receivable';

create table journal_entries (
    entry_id bigint primary key,
    idempotency_key varchar(64) not null,
    payload_hash varchar(64) not null,
    billing_date date not null,
    -- No foreign key: an unknown advertiser's entry is kept, in suspense.
    advertiser_id varchar(64) not null,
    kind text not null check (kind in ('charge', 'adjustment', 'transfer')),
    revision int not null check (revision >= 1),
    -- The entry that this one corrects (adjustment) or moves out of suspense (transfer).
    original_entry_id bigint references journal_entries (entry_id),
    currency char(3) not null,
    -- Signed: what the advertiser owes more for the day. A transfer carries what it moves.
    amount_micros bigint not null check (amount_micros <> 0),
    -- The billable total of the day after this entry, absolute, and its clicks.
    day_micros bigint not null check (day_micros >= 0),
    day_clicks bigint not null check (day_clicks >= 0),
    is_suspense boolean not null,
    -- What was charged to the advertiser's receivable after this entry, over all days.
    cumulative_micros bigint not null,
    leg_count smallint not null default 2 check (leg_count >= 2),
    policy_hash text not null,
    run_id text not null,
    posted_at timestamp with time zone not null default current_timestamp,
    constraint journal_entries_idempotency_key unique (idempotency_key),
    check ((kind = 'charge') = (original_entry_id is null)),
    check (kind <> 'transfer' or not is_suspense)
);

-- A day's entries are posted in runs, so they lie together: a block range index finds them, and
-- costs a large posting next to nothing.
create index idx_journal_entries_day on journal_entries using brin (billing_date)
with (autosummarize = on);
create index idx_journal_entries_advertiser on journal_entries (advertiser_id, entry_id);

-- Its references are checked by a statement trigger (004): entries and accounts are append-only, so
-- one look at the new rows as a set is as good as foreign keys, at a tenth of their time.
create table postings (
    entry_id bigint not null, -- journal_entries
    leg smallint not null check (leg >= 1),
    account_id bigint not null, -- accounts
    currency char(3) not null,
    side char(1) not null check (side in ('D', 'C')),
    amount_micros bigint not null check (amount_micros > 0),
    primary key (entry_id, leg)
);

-- One row per run that came to post, also when it found nothing to do.
create table settlements (
    settlement_id bigint generated always as identity primary key,
    run_id text not null,
    billing_date date not null,
    currency char(3) not null,
    policy_hash text not null,
    advertisers bigint not null,
    held_advertisers bigint not null,
    suspense_advertisers bigint not null,
    posted_entries bigint not null,
    delta_micros bigint not null,
    posted_at timestamp with time zone not null default current_timestamp
);

create index idx_settlements_day on settlements (billing_date, settlement_id);

-- +goose Down
drop table settlements;
drop table postings;
drop table journal_entries;
drop table accounts;
