-- End the log if it has not ended, tell the viewers, erase everything. KEYS: job log request viewers.
-- ARGV: channel control head generation
local h = redis.call('HMGET', JOB, 'status', 'epoch', 'seq')
if not h[1] then return { 'gone' } end
local was_live = not ended(h[1])
if was_live and redis.call('EXISTS', LOG) == 1 then
  local now = now_ms()
  terminate(now, ARGV[1], math.max(tonumber(h[2]) + 1, now), tonumber(h[3]) + 1, 'cancelled', ARGV[3], '', {})
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[1], 'D')
if was_live then redis.call('PUBLISH', ARGV[2], ARGV[4]) end
return { was_live and 'cancelled' or 'erased' }
