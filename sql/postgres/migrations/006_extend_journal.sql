-- Payments, credits and reversals beside charges; the day of an entry's booking beside the day of
-- its clicks; and a hash for every row, by which a changed one is named (007 chains them).

-- +goose Up
alter table accounts drop constraint accounts_account_kind_check;
alter table accounts add constraint accounts_kind check (
    account_kind in ('receivable', 'revenue', 'suspense', 'cash', 'invalid_traffic')
);
alter table accounts add column account_hash bytea;
-- A statement trigger checks it as a set (008), at a tenth of the time of a look for every row.
alter table accounts drop constraint accounts_advertiser_id_fkey;

-- A day's entries are those that the batch brings about: charge, adjustment, credit. Those made by
-- hand (payment, credit, reversal) have a reference, which is their identity.
alter table journal_entries drop constraint journal_entries_kind_check;
alter table journal_entries drop constraint journal_entries_check;
alter table journal_entries drop constraint journal_entries_check1;
alter table journal_entries
    -- The day in whose period the entry is booked: the day of the clicks, or the first open one.
    add column booking_date date,
    add column day_invalid_clicks bigint check (day_invalid_clicks >= 0), -- null: not known
    add column reference varchar(128),
    add column reason varchar(255),
    add column entry_hash bytea;

alter table settlements alter column settlement_id drop identity;
alter table settlements
    -- The batch's result that was posted, its digest of minutes.parquet, and where it was cut off.
    add column result text,
    add column result_hash text,
    add column cut_at timestamp with time zone,
    add column held varchar(64) [] not null default '{}',
    add column settlement_hash bytea;

comment on column journal_entries.billing_date is 'UTC day of the clicks, or of a payment';
comment on column journal_entries.reference is 'names a payment, credit or reversal made by hand';

-- +goose Down
alter table settlements
    drop column result, drop column result_hash, drop column cut_at, drop column held,
    drop column settlement_hash;
alter table settlements alter column settlement_id add generated always as identity;
alter table journal_entries
    drop column booking_date, drop column day_invalid_clicks, drop column reference,
    drop column reason, drop column entry_hash;
alter table journal_entries add constraint journal_entries_kind_check
check (kind in ('charge', 'adjustment', 'transfer'));
alter table journal_entries add constraint journal_entries_check
check ((kind = 'charge') = (original_entry_id is null));
alter table journal_entries add constraint journal_entries_check1
check (kind <> 'transfer' or not is_suspense);
alter table accounts drop column account_hash;
alter table accounts add constraint accounts_advertiser_id_fkey
foreign key (advertiser_id) references advertisers (id) on delete restrict;
alter table accounts drop constraint accounts_kind;
alter table accounts add constraint accounts_account_kind_check
check (account_kind in ('receivable', 'revenue', 'suspense'));
