-- Claims the click_ids that nobody has claimed, and returns those that somebody has.
-- KEYS: the period's hash, the one before it, the one after it.
-- ARGV: the writer's field, its writes to the period and to the one before it so far, the seconds
-- to keep the period, and the claims: 16 bytes of key and 36 of value each, no key twice.
-- Returns the writer's writes to the period, then for each known click_id its index in the claims
-- and its values in the three hashes, of which those that are not there are empty.
local period, before, after, writer = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
if tonumber(redis.call('HGET', period, writer) or '0') < tonumber(ARGV[2])
  or tonumber(redis.call('HGET', before, writer) or '0') < tonumber(ARGV[3]) then
  return redis.error_reply('LOST writes of this writer')
end
local answer = { redis.call('HINCRBY', period, writer, 1) }
redis.call('EXPIRE', period, ARGV[4])
local others = {}
for _, key in ipairs({ before, after }) do
  if redis.call('EXISTS', key) == 1 then others[#others + 1] = key end
end
local claims, size = ARGV[5], 52
local total = #claims / size
for from = 0, total - 1, 2000 do -- a call takes less than 8000 arguments
  local ids = {}
  for i = from, math.min(from + 2000, total) - 1 do
    ids[#ids + 1] = string.sub(claims, i * size + 1, i * size + 16)
  end
  local here = redis.call('HMGET', period, unpack(ids))
  local there, later = {}, {}
  for _, key in ipairs(others) do
    if key == before then there = redis.call('HMGET', key, unpack(ids)) else later = redis.call('HMGET', key, unpack(ids)) end
  end
  local fresh = {}
  for i = 1, #ids do
    if here[i] or there[i] or later[i] then
      answer[#answer + 1] = from + i - 1
      answer[#answer + 1] = here[i] or ''
      answer[#answer + 1] = there[i] or ''
      answer[#answer + 1] = later[i] or ''
    else
      local at = (from + i - 1) * size
      fresh[#fresh + 1] = ids[i]
      fresh[#fresh + 1] = string.sub(claims, at + 17, at + size)
    end
  end
  if #fresh > 0 then redis.call('HSET', period, unpack(fresh)) end
end
return answer
