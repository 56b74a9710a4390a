-- The chain: every transaction that adds to the ledger ends with one link, whose hash covers the
-- hashes of all rows that it added, in order, and the link before it.

-- +goose Up
-- What happens to advertisers, who can be changed: a row of theirs must be as the last event says.
create table advertiser_events (
    event_id bigint primary key,
    advertiser_id varchar(64) not null,
    kind text not null
    check (kind in ('registered', 'changed', 'limit_crossed', 'limit_cleared')),
    name varchar(255) not null,
    credit_limit decimal(15, 2) not null,
    registered_at timestamp with time zone, -- advertisers.created_at
    balance decimal(15, 4) not null,
    happened_at timestamp with time zone not null default current_timestamp,
    event_hash bytea not null
);

create index idx_advertiser_events_advertiser on advertiser_events (advertiser_id, event_id);

-- A closed month; no entry can be booked up to its last day.
create table closed_periods (
    period_id bigint primary key,
    first_day date not null unique check (first_day = date_trunc('month', first_day)),
    last_day date not null unique,
    entries bigint not null,
    amount_micros numeric(38) not null,
    run_id text not null,
    closed_at timestamp with time zone not null default current_timestamp,
    -- Covers the seal of the last day, which covers those before it.
    period_hash bytea not null,
    check (last_day = first_day + interval '1 month' - interval '1 day')
);

-- One for each day of a closed month: its entries in order, by the day of booking.
create table sealed_days (
    booking_date date primary key,
    period_id bigint not null references closed_periods (period_id) deferrable initially deferred,
    entries bigint not null,
    amount_micros numeric(38) not null,
    entries_hash bytea not null,
    seal_hash bytea not null
);

create table chain_links (
    link_id bigint primary key,
    -- The last row of each table that the ledger had after the transaction.
    last_account_id bigint not null,
    last_entry_id bigint not null,
    last_settlement_id bigint not null,
    last_event_id bigint not null,
    last_period_id bigint not null,
    content_hash bytea not null, -- of the rows since the link before
    link_hash bytea not null, -- of this link and, by its hash, the one before
    linked_at timestamp with time zone not null default current_timestamp
);

comment on column advertiser_events.balance is 'current_balance when it happened';

-- +goose Down
drop table chain_links;
drop table sealed_days;
drop table closed_periods;
drop table advertiser_events;
