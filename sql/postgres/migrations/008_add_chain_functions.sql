-- The hash of every kind of row, each written once and used by posting and by verification. Fields
-- are joined by a control character, which no ID or text of the ledger may hold; null is another.

-- +goose Up
-- +goose StatementBegin
create function ledger_instant(instant timestamp with time zone) returns bigint
language sql immutable parallel safe
return (extract(epoch from instant) * 1000000)::bigint;
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_account_hash(
    account_id bigint, account_kind text, advertiser_id text, currency text
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.account.v1', account_id, account_kind,
    coalesce(advertiser_id, e'\x1e'), currency
), 'UTF8'));
-- +goose StatementEnd

-- One leg of an entry, as its hash covers it; legs are joined by semicolons in their order.
-- +goose StatementBegin
create function ledger_leg(
    leg smallint, account_id bigint, currency text, side text, amount_micros bigint
) returns text
language sql stable parallel safe
return concat_ws(',', leg, account_id, currency, side, amount_micros);
-- +goose StatementEnd

-- All columns of an entry. The payload hash covers currency, amount and the day's figures of a
-- day's entry, but they stand here too: a changed one is to be found whatever hash is believed.
-- +goose StatementBegin
create function ledger_entry_hash(
    entry_id bigint, idempotency_key text, payload_hash text, billing_date date, booking_date date,
    advertiser_id text, kind text, revision int, original_entry_id bigint, currency text,
    amount_micros bigint, day_micros bigint, day_clicks bigint, day_invalid_clicks bigint,
    is_suspense boolean, cumulative_micros bigint, leg_count smallint, policy_hash text,
    run_id text, reference text, reason text, posted_at timestamp with time zone, legs text
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.entry.v1', entry_id, idempotency_key, payload_hash,
    billing_date - date '2000-01-01', booking_date - date '2000-01-01', advertiser_id, kind,
    revision, coalesce(original_entry_id, 0), currency, amount_micros, day_micros, day_clicks,
    coalesce(day_invalid_clicks, -1), is_suspense, cumulative_micros, leg_count, policy_hash, run_id,
    coalesce(reference, e'\x1e'), coalesce(reason, e'\x1e'), ledger_instant(posted_at), legs
), 'UTF8'));
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_settlement_hash(
    settlement_id bigint, run_id text, billing_date date, currency text, policy_hash text,
    advertisers bigint, held_advertisers bigint, suspense_advertisers bigint,
    posted_entries bigint, delta_micros bigint, posted_at timestamp with time zone, result text,
    result_hash text, cut_at timestamp with time zone, held text []
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.settlement.v1', settlement_id, run_id, billing_date - date '2000-01-01',
    currency, policy_hash, advertisers, held_advertisers, suspense_advertisers, posted_entries,
    delta_micros, ledger_instant(posted_at), coalesce(result, e'\x1e'),
    coalesce(result_hash, e'\x1e'), coalesce(ledger_instant(cut_at), 0), held
), 'UTF8'));
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_event_hash(
    event_id bigint, advertiser_id text, kind text, name text, credit_limit numeric,
    registered_at timestamp with time zone, balance numeric, happened_at timestamp with time zone
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.event.v1', event_id, advertiser_id, kind, name, credit_limit,
    coalesce(ledger_instant(registered_at), 0), balance, ledger_instant(happened_at)
), 'UTF8'));
-- +goose StatementEnd

-- previous_hash is the seal of the last sealed day before, or null.
-- +goose StatementBegin
create function ledger_seal_hash(
    booking_date date, period_id bigint, entries bigint, amount_micros numeric,
    entries_hash bytea, previous_hash bytea
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.seal.v1', booking_date - date '2000-01-01', period_id, entries,
    amount_micros, encode(entries_hash, 'hex'), coalesce(encode(previous_hash, 'hex'), e'\x1e')
), 'UTF8'));
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_period_hash(
    period_id bigint, first_day date, last_day date, entries bigint, amount_micros numeric,
    run_id text, closed_at timestamp with time zone, seal_hash bytea
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.period.v1', period_id, first_day - date '2000-01-01',
    last_day - date '2000-01-01', entries, amount_micros, run_id, ledger_instant(closed_at),
    encode(seal_hash, 'hex')
), 'UTF8'));
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_link_hash(
    link_id bigint, last_account_id bigint, last_entry_id bigint, last_settlement_id bigint,
    last_event_id bigint, last_period_id bigint, content_hash bytea,
    linked_at timestamp with time zone, previous_hash bytea
) returns bytea
language sql stable parallel safe
return sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.link.v1', link_id, last_account_id, last_entry_id, last_settlement_id,
    last_event_id, last_period_id, encode(content_hash, 'hex'), ledger_instant(linked_at),
    coalesce(encode(previous_hash, 'hex'), e'\x1e')
), 'UTF8'));
-- +goose StatementEnd

-- The hash of the rows with IDs in (from, to] of every table. The order is that of the IDs.
-- +goose StatementBegin
create function ledger_content_hash(
    from_account bigint, to_account bigint, from_entry bigint, to_entry bigint,
    from_settlement bigint, to_settlement bigint, from_event bigint, to_event bigint,
    from_period bigint, to_period bigint
) returns bytea
language sql stable
return sha256(
    sha256(coalesce((
        select string_agg(a.account_hash, ''::bytea order by a.account_id)
        from public.accounts as a
        where a.account_id > from_account and a.account_id <= to_account
    ), ''::bytea))
    || sha256(coalesce((
        select string_agg(e.entry_hash, ''::bytea order by e.entry_id)
        from public.journal_entries as e
        where e.entry_id > from_entry and e.entry_id <= to_entry
    ), ''::bytea))
    || sha256(coalesce((
        select string_agg(s.settlement_hash, ''::bytea order by s.settlement_id)
        from public.settlements as s
        where s.settlement_id > from_settlement and s.settlement_id <= to_settlement
    ), ''::bytea))
    || sha256(coalesce((
        select string_agg(v.event_hash, ''::bytea order by v.event_id)
        from public.advertiser_events as v
        where v.event_id > from_event and v.event_id <= to_event
    ), ''::bytea))
    || sha256(coalesce((
        select string_agg(p.period_hash, ''::bytea order by p.period_id)
        from public.closed_periods as p
        where p.period_id > from_period and p.period_id <= to_period
    ), ''::bytea))
);
-- +goose StatementEnd

-- Serialises everything that adds to the ledger, to the end of the transaction.
-- +goose StatementBegin
create function lock_ledger() returns void
language sql
return pg_advisory_xact_lock(7164216982964560999);
-- +goose StatementEnd

-- The day on which something about a day is booked: that day, or the first one that is open.
-- +goose StatementBegin
create function ledger_booking_date(billing_date date) returns date
language sql stable
return greatest(billing_date, (select max(p.last_day) + 1 from public.closed_periods as p));
-- +goose StatementEnd

-- The key of what is made by hand. The reference of the advertiser is its identity: neither day nor
-- amount is part of it, so the same reference with another amount is a conflict.
-- +goose StatementBegin
create function ledger_reference_key(advertiser_id text, kind text, reference text)
returns varchar(64)
language sql stable parallel safe
return kind || '/' || left(
    encode(sha256(convert_to(advertiser_id || e'\x1f' || reference, 'UTF8')), 'hex'), 40
);
-- +goose StatementEnd

-- +goose StatementBegin
create function ledger_reference_hash(
    idempotency_key text, currency text, amount_micros bigint, original_entry_id bigint, reason text
) returns varchar(64)
language sql stable parallel safe
return encode(sha256(convert_to(concat_ws(
    e'\x1f', 'clickledger.reference.v1', idempotency_key, currency, amount_micros,
    coalesce(original_entry_id, 0), coalesce(reason, e'\x1e')
), 'UTF8')), 'hex');
-- +goose StatementEnd

-- What a row of billing_ledger says.
-- +goose StatementBegin
create function ledger_description(
    kind text, billing_date date, booking_date date, currency text, original_entry_id bigint,
    reference text, reason text
) returns text
language sql stable parallel safe
return concat(
    kind,
    case when reference is null then ' for clicks of ' else ' ' || reference || ' of ' end,
    to_char(billing_date, 'YYYY-MM-DD'), ', ', currency,
    case when original_entry_id is not null then concat(', to entry ', original_entry_id) end,
    case when booking_date > billing_date then concat(', booked on ', to_char(booking_date, 'YYYY-MM-DD')) end,
    case when reference is not null then ': ' || reason end
);
-- +goose StatementEnd

-- +goose Down
drop function ledger_description(text, date, date, text, bigint, text, text);
drop function lock_ledger();
drop function ledger_reference_hash(text, text, bigint, bigint, text);
drop function ledger_reference_key(text, text, text);
drop function ledger_booking_date(date);
drop function ledger_content_hash(
    bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint
);
drop function ledger_link_hash(
    bigint, bigint, bigint, bigint, bigint, bigint, bytea, timestamp with time zone, bytea
);
drop function ledger_period_hash(
    bigint, date, date, bigint, numeric, text, timestamp with time zone, bytea
);
drop function ledger_seal_hash(date, bigint, bigint, numeric, bytea, bytea);
drop function ledger_event_hash(
    bigint, text, text, text, numeric, timestamp with time zone, numeric, timestamp with time zone
);
drop function ledger_settlement_hash(
    bigint, text, date, text, text, bigint, bigint, bigint, bigint, bigint,
    timestamp with time zone, text, text, timestamp with time zone, text []
);
drop function ledger_entry_hash(
    bigint, text, text, date, date, text, text, int, bigint, text, bigint, bigint, bigint, bigint,
    boolean, bigint, smallint, text, text, text, text, timestamp with time zone, text
);
drop function ledger_leg(smallint, bigint, text, text, bigint);
drop function ledger_account_hash(bigint, text, text, text);
drop function ledger_instant(timestamp with time zone);
