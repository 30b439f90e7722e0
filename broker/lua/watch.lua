-- The viewers' lease of one node, and whether anybody watches. KEYS: job log viewers.
-- ARGV: node hold_ms ('' = only look; '0' = this node's last viewer has gone)
-- Answers how long (ms) nobody has watched, counted from submit; 0 while somebody does; -1 where it does not matter.
local h = redis.call('HMGET', JOB, 'status', 'created_at', 'cancel_after_ms')
if not h[1] or ended(h[1]) or h[3] == '' then return { -1, 0 } end
local now = now_ms()
if ARGV[2] ~= '' then
  make_way()
  redis.call('ZADD', KEYS[3], text(now + tonumber(ARGV[2])), ARGV[1])
  redis.call('PEXPIRE', KEYS[3], math.max(redis.call('PTTL', JOB), 1))
end
local last = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')
local since = math.max(tonumber(h[2]), tonumber(last[2] or 0))
return { math.max(now - since, 0), tonumber(h[3]) }
