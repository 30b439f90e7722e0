-- Ask the owner to stop; where no live lease is, end the log here. KEYS: job log request.
-- ARGV: reason channel control head generation
local h = redis.call('HMGET', JOB, 'status', 'owner', 'lease_until', 'epoch', 'seq', 'upstream')
if not h[1] then return { 'gone' } end
if ended(h[1]) then return { 'ended' } end
if redis.call('EXISTS', LOG) == 0 then return { 'gone' } end
local now = now_ms()
make_way()
if h[2] ~= '' and tonumber(h[3]) > now then
  redis.call('HSETNX', JOB, 'cancel', ARGV[1])
  redis.call('PUBLISH', ARGV[3], ARGV[5])
  return { 'asked' }
end
redis.call('HSET', JOB, 'owner', '')
terminate(now, ARGV[2], math.max(tonumber(h[4]) + 1, now), tonumber(h[5]) + 1, 'cancelled', ARGV[4], '', {})
redis.call('PUBLISH', ARGV[3], ARGV[5])
return { h[6] and 'left' or 'cancelled' }
