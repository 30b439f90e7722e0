-- Shared by every script. KEYS[1] = job hash, KEYS[2] = log. Only what Redis 6.2 and fakeredis have.
local JOB, LOG = KEYS[1], KEYS[2]
local NOTICE_LIMIT = 65536

local function now_ms()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

local function id(epoch, seq)
  return text(epoch) .. '-' .. text(seq)
end

-- A notice carries the entries while they are small; otherwise only that there are some. `before` is the epoch of the
-- entry before the first one: a reader who stands elsewhere must not take them.
local function notice(channel, before, epoch, first, pairs_)
  local size, parts = 0, {}
  for i = 1, #pairs_, 2 do
    local field, value = pairs_[i], pairs_[i + 1]
    size = size + #field + #value
    parts[#parts + 1] = #field .. ' ' .. #value .. '\n' .. field .. value
  end
  local head = 'E ' .. text(epoch) .. ' ' .. text(first) .. ' ' .. (#pairs_ / 2) .. ' ' .. text(before) .. '\n'
  if size > NOTICE_LIMIT then
    redis.call('PUBLISH', channel, 'H' .. string.sub(head, 2))
  else
    redis.call('PUBLISH', channel, head .. table.concat(parts))
  end
end

-- For scripts that must go through although Redis has reached maxmemory: it refuses a script's first write where that
-- could take memory, and none behind a first one that can't.
local function make_way()
  redis.call('PEXPIRE', JOB, math.max(redis.call('PTTL', JOB), 1))
end

local function ended(status)
  return status == 'completed' or status == 'failed' or status == 'cancelled'
end

-- A duration as JSON. A clock that was set back must not make it negative.
local function json_duration(value)
  if not value then return 'null' end
  return text(math.max(value, 0))
end

-- Durations of a generation that ends now, as the JSON of the event's timing.
local function timing(now, created, started, first_token, output_tokens)
  local rate = 'null'
  if first_token and output_tokens and output_tokens > 0 and now > first_token then
    rate = string.format('%.2f', output_tokens * 1000 / (now - first_token))
  end
  return '{"queue_ms":' .. json_duration(started and started - created)
    .. ',"ttft_ms":' .. json_duration(first_token and first_token - created)
    .. ',"duration_ms":' .. json_duration(now - created)
    .. ',"tokens_per_second":' .. rate .. '}'
end

-- Append the one terminal entry and close the log: status, times and TTLs in the same step.
-- `head` is the event's JSON without its closing brace and without `timing`.
local function terminate(now, channel, epoch, seq, status, head, output_tokens, extra)
  local h = redis.call('HMGET', JOB, 'created_at', 'started_at', 'first_token_at', 'retention_ms', 'tombstone_ms',
    'top')
  local took = timing(now, tonumber(h[1]), tonumber(h[2] or nil), tonumber(h[3] or nil), tonumber(output_tokens))
  local value = head .. ',"timing":' .. took .. '}'
  make_way()
  redis.call('XADD', LOG, 'NOMKSTREAM', id(epoch, seq), 'j', value)
  redis.call('HSET', JOB, 'status', status, 'finished_at', text(now), 'timing', took,
    'epoch', text(epoch), 'top', text(epoch), 'seq', text(seq), 'lease_until', '0')
  for i = 1, #extra, 2 do
    if extra[i + 1] ~= '' then redis.call('HSET', JOB, extra[i], extra[i + 1]) end
  end
  local retention, tombstone = tonumber(h[4]), tonumber(h[5])
  redis.call('PEXPIRE', LOG, retention)
  redis.call('PEXPIRE', KEYS[3], retention)
  redis.call('PEXPIRE', JOB, retention + tombstone)
  notice(channel, tonumber(h[6]), epoch, seq, { 'j', value })
end
