-- Make `owner` the one writer of the log, and tell it what was asked for. KEYS: job log request.
-- ARGV: owner lease_ms max_attempts whole_ms channel lost_head worker
-- `whole_ms`: how long the claimer's own connections have been whole; who was cut off itself judges nobody dead, and
-- the measure is the holder's lease: the two may be configured differently.
local owner, lease, whole = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[4])
local h = redis.call('HMGET', JOB, 'status', 'owner', 'lease_until', 'epoch', 'top', 'seq', 'attempt', 'losses',
  'on_worker_loss', 'cancel', 'deadline_at', 'lease_ms', 'upstream')
if not h[1] or redis.call('EXISTS', LOG) == 0 then return { 'gone' } end
-- What is still being made upstream for a log that has ended early is for the claimer to stop.
local function over(kind, status)
  if status == 'completed' or not h[13] then return { kind } end
  return { kind, h[13], redis.call('GET', KEYS[3]) or '' }
end
if ended(h[1]) then return over('ended', h[1]) end
local now = now_ms()
local holder, lease_until = h[2], tonumber(h[3])
local epoch, seq, attempt, losses = tonumber(h[4]), tonumber(h[6]), tonumber(h[7]), tonumber(h[8])
local function claimed()
  return { 'claimed', text(epoch), h[5], text(seq), text(attempt), h[10] or '', text(tonumber(h[11]) - now), h[9],
    text(losses), h[13] or '', redis.call('GET', KEYS[3]) or '' }
end
if holder == owner then
  redis.call('HSET', JOB, 'lease_until', text(now + lease), 'lease_ms', text(lease))
  return claimed()
end
if holder ~= '' then
  local held_for = tonumber(h[12] or lease)
  if lease_until > now + held_for then
    -- Nobody takes a lease for longer than that: the clock has gone back.
    lease_until = now + held_for
    redis.call('HSET', JOB, 'lease_until', text(lease_until))
  end
  if lease_until > now then return { 'busy', text(lease_until - now) } end
  local patience = math.max(lease, held_for)
  if whole < patience then return { 'busy', text(patience - whole) } end
  losses = losses + 1
  if losses >= tonumber(ARGV[3]) or h[9] == 'fail' then
    terminate(now, ARGV[5], math.max(epoch + 1, now), seq + 1, 'failed', ARGV[6], '', { 'error', ARGV[7] })
    redis.call('HSET', JOB, 'owner', '', 'losses', text(losses))
    return over('lost', 'failed')
  end
end
if now > epoch then
  epoch = now
else
  -- The clock has gone back. A server that forgets this claim must not give its epoch to the next one, nor to the end
  -- that somebody else writes, which is the top epoch + 1.
  epoch = epoch + 2 + (tonumber(string.sub(owner, 1, 4), 16) or 0)
end
attempt = attempt + 1
redis.call('HSET', JOB, 'owner', owner, 'epoch', text(epoch), 'lease_until', text(now + lease),
  'lease_ms', text(lease), 'attempt', text(attempt), 'losses', text(losses))
return claimed()
