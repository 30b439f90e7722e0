-- Compare-and-append; without entries: renew the lease. KEYS: job log request.
-- ARGV: owner epoch first_seq lease_ms channel started first_token (field value)*
-- `lease_ms`: '' = the writer has renewed it a moment ago.
-- `started`: '' or the mode and attempt of the generation.started that is the first of the entries;
-- `first_token`: '' or '1'.
local owner, epoch, first, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local started, first_token = ARGV[6], ARGV[7]
local count = (#ARGV - 7) / 2
local function renew()
  if lease then redis.call('HSET', JOB, 'lease_until', text(now_ms() + lease)) end
end
local h = redis.call('HMGET', JOB, 'status', 'owner', 'epoch', 'top', 'seq', 'cancel')
local there, refusal = compare(h, owner, epoch, first, count)
if refusal then return refusal end
if ended(h[1]) then return { 'ended' } end
if there == count then
  make_way()
  renew()
else
  add(ARGV[5], tonumber(h[4]), epoch, first + there, rest(8 + 2 * there))
  redis.call('HSET', JOB, 'top', text(epoch), 'seq', text(first + count - 1))
  renew()
  local now = now_ms()
  if started ~= '' then
    local mode, attempt = string.match(started, '(%a+) (%d+)')
    redis.call('HSET', JOB, 'status', 'running', 'attempt', attempt)
    redis.call('HSETNX', JOB, 'started_at', text(now))
    if mode == 'restart' and there == 0 then
      redis.call('HDEL', JOB, 'first_token_at')
      redis.call('HSET', JOB, 'restart', text(first))
    end
  end
  if first_token ~= '' then redis.call('HSETNX', JOB, 'first_token_at', text(now)) end
end
return { 'ok', h[6] or '' }
