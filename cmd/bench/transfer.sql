-- The baseline of posting: accounts with balances, and a function that makes one transfer of two
-- postings between two accounts, locked in their order, as ledgers in PostgreSQL do it.
create table bench_accounts (
    account_id bigint primary key,
    balance bigint not null default 0,
    version bigint not null default 0
) with (fillfactor = 50);

create table bench_transfers (
    transfer_id bigint generated always as identity primary key,
    from_account_id bigint not null references bench_accounts (account_id),
    to_account_id bigint not null references bench_accounts (account_id),
    amount_micros bigint not null check (amount_micros > 0),
    created_at timestamp with time zone not null default current_timestamp
);

create table bench_postings (
    posting_id bigint generated always as identity primary key,
    transfer_id bigint not null references bench_transfers (transfer_id),
    account_id bigint not null references bench_accounts (account_id),
    amount_micros bigint not null,
    balance_before bigint not null,
    balance_after bigint not null,
    account_version bigint not null
);

create index bench_postings_account on bench_postings (account_id);

insert into bench_accounts (account_id) select generate_series(1, 10000);

create function bench_transfer(from_id bigint, to_id bigint, amount bigint) returns bigint
language plpgsql
as $$
declare
    added bigint;
    leg record;
    after bench_accounts;
begin
    perform from bench_accounts where account_id in (from_id, to_id) order by account_id for update;
    insert into bench_transfers (from_account_id, to_account_id, amount_micros)
    values (from_id, to_id, amount) returning transfer_id into added;
    for leg in select * from (values (from_id, -amount), (to_id, amount)) as l (account_id, micros) loop
        update bench_accounts as a set balance = a.balance + leg.micros, version = a.version + 1
        where a.account_id = leg.account_id returning * into after;
        insert into bench_postings (
            transfer_id, account_id, amount_micros, balance_before, balance_after, account_version
        )
        values (added, leg.account_id, leg.micros, after.balance - leg.micros, after.balance, after.version);
    end loop;
    return added;
end;
$$;
