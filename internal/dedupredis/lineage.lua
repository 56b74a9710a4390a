-- Joins the lineage of jobs that have read the log from these offsets on, or begins a new one.
-- KEYS: the lineage. ARGV: a name for a new one, the number of shards, the seconds to keep it, and
-- the offset at which the job begins, by partition.
-- A job that begins before the last one has to judge anew what was judged from a later start on,
-- and so has one that deals the click_ids out to other shards.
local lineage = KEYS[1]
local name = redis.call('HGET', lineage, 'name')
local same = name and redis.call('HGET', lineage, 'shards') == ARGV[2]
for i = 4, #ARGV do
  local start = tonumber(redis.call('HGET', lineage, 'start/' .. (i - 4)) or '0')
  same = same and tonumber(ARGV[i]) >= start
end
if not same then
  name = ARGV[1]
  redis.call('DEL', lineage)
  redis.call('HSET', lineage, 'name', name, 'shards', ARGV[2])
end
for i = 4, #ARGV do redis.call('HSET', lineage, 'start/' .. (i - 4), ARGV[i]) end
redis.call('EXPIRE', lineage, ARGV[3])
return name
