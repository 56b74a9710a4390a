select
    (select count(*) from journal_entries) as entries,
    coalesce(sum(amount_micros) filter (where side = 'D'), 0)::bigint as debit_micros,
    coalesce(sum(amount_micros) filter (where side = 'C'), 0)::bigint as credit_micros
from postings;
