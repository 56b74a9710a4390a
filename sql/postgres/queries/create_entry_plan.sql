-- The entries that one transaction is about to post, worked out in full before anything is written.
create temporary table entry_plan (
    entry_id bigint not null,
    idempotency_key varchar(64) not null,
    payload_hash varchar(64) not null,
    billing_date date not null,
    booking_date date not null,
    advertiser_id varchar(64) not null,
    kind text not null,
    revision int not null,
    original_entry_id bigint,
    currency char(3) not null,
    amount_micros bigint not null,
    day_micros bigint not null,
    day_clicks bigint not null,
    day_invalid_clicks bigint,
    is_suspense boolean not null,
    cumulative_micros bigint not null,
    -- What the row of billing_ledger gets.
    billed_amount decimal(15, 4) not null,
    policy_hash text not null,
    reference varchar(128),
    reason varchar(255),
    -- The accounts of the two legs; the first may be still to be opened.
    account_id bigint not null,
    is_new_account boolean not null,
    counter_account_id bigint not null
) on commit drop;
