-- As many clicks as rows: each is the only one of its row. One in a thousand is late in the stream.
insert into click
select 0, i, 'click-' || i, getvariable('day') + (i * 7919) % 86400000,
    getvariable('day') + (i * 7919) % 86400000 + if(i % 1000 = 0, 1200000, 500),
    10000 + i % 7000, '192.0.2.' || i % 200, 'adv-' || i % 20000, 'ad-' || i,
    if(i % 1000 = 0, 'late', 'billable'), 'billable', i % 1000 = 0, null, true
from range(getvariable('rows')) as r(i);
