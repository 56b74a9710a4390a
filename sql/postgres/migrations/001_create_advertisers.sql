-- The lesson's tables, column by column.

-- +goose Up
create table advertisers (
    id varchar(64) primary key,
    name varchar(255) not null,
    current_balance decimal(15, 4) not null default 0.0000,
    credit_limit decimal(15, 2) not null default 1000.00,
    created_at timestamp with time zone default current_timestamp
) with (fillfactor = 50); -- every posting writes each balance anew, in place when there is room

create table billing_ledger (
    transaction_id varchar(64) primary key,
    advertiser_id varchar(64) not null references advertisers (id) on delete restrict,
    amount decimal(15, 4) not null, -- negative for charges, positive for payments
    version_id int not null default 1,
    description text,
    created_at timestamp with time zone default current_timestamp
);

create index idx_billing_ledger_advertiser on billing_ledger (advertiser_id, created_at);

comment on column advertisers.current_balance is
'sum of billing_ledger.amount; written in the same transaction as the rows of billing_ledger';
comment on column billing_ledger.transaction_id is
'idempotency key of the journal entry (journal_entries.idempotency_key)';
comment on column billing_ledger.version_id is
'revision of the (billing date, advertiser): 1 is the charge, later ones are adjustments';

-- +goose Down
drop table billing_ledger;
drop table advertisers;
