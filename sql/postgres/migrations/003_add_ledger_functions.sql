-- The pure rules of the ledger: each is written once and used by posting and by verification.
-- None is declared strict: the planner could not inline it then, and a million calls would show.

-- +goose Up
-- Micros to units of 1e-4, half to even (money.RoundHalfEvenToDecimal4 is the same rule in Go).
-- +goose StatementBegin
create function round_half_even_decimal4(micros bigint) returns bigint
language sql immutable parallel safe
return micros / 100 + case
    when abs(micros % 100) > 50 or (abs(micros % 100) = 50 and (micros / 100) % 2 <> 0)
        then sign(micros)::bigint
    else 0
end;
-- +goose StatementEnd

-- The amount of a billing_ledger row: the advertiser's charges so far, rounded, less what was
-- posted before. So the sum of all rows is always the rounded whole: roundings do not add up.
-- +goose StatementBegin
create function billing_amount(cumulative_before bigint, cumulative_after bigint)
returns decimal(15, 4)
language sql immutable parallel safe
return (
    round_half_even_decimal4(cumulative_before) - round_half_even_decimal4(cumulative_after)
)::decimal / 10000;
-- +goose StatementEnd

-- (billing date, advertiser, kind, revision) in at most 64 characters: readable where it fits, else
-- with a hash for the advertiser, after another separator so that the two forms cannot meet. Keys
-- sort by day and advertiser, as they are posted: unlike a hash of everything they go to the end
-- of their indexes. An advertiser ID holds no control characters, but may hold separators: it
-- stands last.
-- +goose StatementBegin
create function ledger_idempotency_key(
    billing_date date, advertiser_id text, kind text, revision int
) returns varchar(64)
language sql stable parallel safe
return case
    when length(advertiser_id) <= 32
        then to_char(billing_date, 'YYYYMMDD') || '/' || kind || '/' || revision || '/' || advertiser_id
    else to_char(billing_date, 'YYYYMMDD') || '/' || kind || '/' || revision || '#'
        || left(encode(sha256(convert_to(advertiser_id, 'UTF8')), 'hex'), 32)
end;
-- +goose StatementEnd

-- What a replay of the same key must carry again: without run ID, wall clock, or what other days
-- and registrations have brought about.
-- +goose StatementBegin
create function ledger_payload_hash(
    idempotency_key text, currency text, amount_micros bigint, day_micros bigint,
    day_clicks bigint, policy_hash text
) returns varchar(64)
language sql stable parallel safe
return encode(sha256(convert_to(
    concat_ws(
        e'\x1f', 'clickledger.payload.v1', idempotency_key, currency,
        amount_micros, day_micros, day_clicks, policy_hash
    ), 'UTF8'
)), 'hex');
-- +goose StatementEnd

-- +goose Down
drop function ledger_payload_hash(text, text, bigint, bigint, bigint, text);
drop function ledger_idempotency_key(date, text, text, int);
drop function billing_amount(bigint, bigint);
drop function round_half_even_decimal4(bigint);
