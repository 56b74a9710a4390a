-- $1 advertiser: whether he is registered, and the currency that he is billed in, if any.
select
    exists (select from advertisers where id = $1) as is_registered,
    coalesce((
        select currency from accounts where advertiser_id = $1 and account_kind = 'receivable'
    ), '') as currency;
