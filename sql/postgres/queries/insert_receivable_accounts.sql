-- The accounts that the plan opens.
insert into accounts (account_id, account_kind, advertiser_id, currency, account_hash)
select
    p.account_id, 'receivable', p.advertiser_id, p.currency,
    ledger_account_hash(p.account_id, 'receivable', p.advertiser_id, p.currency)
from entry_plan as p
where p.is_new_account;
