-- The role that the ledger's own connections take on: it appends and reads, and may change one
-- column, the balance. A server on which we may not make roles runs without it.

-- +goose Up
-- +goose StatementBegin
do $$
begin
    if not exists (select from pg_roles where rolname = 'clickledger_app') then
        begin
            create role clickledger_app nologin;
        exception
            when duplicate_object or unique_violation then null; -- another database's migration won
            when insufficient_privilege then
                raise notice 'no right to make the role clickledger_app: running without it';
        end;
    end if;
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        grant select, insert on advertisers, billing_ledger, accounts, journal_entries, postings,
            settlements to clickledger_app;
        grant update (current_balance) on advertisers to clickledger_app;
    end if;
end;
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
do $$
begin
    -- The role itself stays: it belongs to the server, and other databases may use it.
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        revoke all on advertisers, billing_ledger, accounts, journal_entries, postings, settlements
            from clickledger_app;
    end if;
end;
$$;
-- +goose StatementEnd
