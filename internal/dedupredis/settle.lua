-- Replaces values that are still what they were, and returns the places of those that are not.
-- KEYS: the period's hash. ARGV: the writer's field, its writes to the period so far, and for each
-- click_id its key, its old value, empty where it had none, and its new one.
local period = KEYS[1]
if tonumber(redis.call('HGET', period, ARGV[1]) or '0') < tonumber(ARGV[2]) then
  return redis.error_reply('LOST writes of this writer')
end
local changed = {}
for i = 3, #ARGV, 3 do
  if (redis.call('HGET', period, ARGV[i]) or '') == ARGV[i + 1] then
    redis.call('HSET', period, ARGV[i], ARGV[i + 2])
  else
    changed[#changed + 1] = (i - 3) / 3
  end
end
return changed
