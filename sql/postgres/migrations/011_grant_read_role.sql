-- The role of who only reads accounts and statements, as the analytics API does: it may select from
-- what those are made of, and nothing else. A server on which we may not make roles runs without it.

-- +goose Up
-- +goose StatementBegin
do $$
begin
    if not exists (select from pg_roles where rolname = 'clickledger_read') then
        begin
            create role clickledger_read nologin;
        exception
            when duplicate_object or unique_violation then null; -- another database's migration won
            when insufficient_privilege then
                raise notice 'no right to make the role clickledger_read: running without it';
        end;
    end if;
    if exists (select from pg_roles where rolname = 'clickledger_read') then
        grant select on advertisers, billing_ledger, accounts, journal_entries, settlements,
            closed_periods, chain_links to clickledger_read;
    end if;
    -- It runs as its owner, and so is for who may append.
    revoke execute on function append_chain_link() from public;
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        grant execute on function append_chain_link() to clickledger_app;
    end if;
end;
$$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
do $$
begin
    grant execute on function append_chain_link() to public;
    if exists (select from pg_roles where rolname = 'clickledger_app') then
        revoke execute on function append_chain_link() from clickledger_app;
    end if;
    -- The role itself stays: it belongs to the server, and other databases may use it.
    if exists (select from pg_roles where rolname = 'clickledger_read') then
        revoke all on advertisers, billing_ledger, accounts, journal_entries, settlements,
            closed_periods, chain_links from clickledger_read;
    end if;
end;
$$;
-- +goose StatementEnd
