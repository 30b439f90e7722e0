-- Append the last entries and the terminal one; the first terminal entry wins. KEYS: job log request.
-- ARGV: owner epoch first_seq channel status head output_tokens usage error finish_reason first_token (field value)*
local owner, epoch, first = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local count = (#ARGV - 11) / 2
local h = redis.call('HMGET', JOB, 'status', 'owner', 'epoch', 'top', 'seq')
local there, refusal = compare(h, owner, epoch, first, count + 1)
if refusal then return refusal end
if ended(h[1]) then
  return { there == count + 1 and 'ok' or 'ended' }
end
local now = now_ms()
local last = rest(12 + 2 * there)
add(ARGV[4], tonumber(h[4]), epoch, first + there, last)
if #last > 0 then redis.call('HSET', JOB, 'top', text(epoch)) end
if ARGV[11] ~= '' then redis.call('HSETNX', JOB, 'first_token_at', text(now)) end
terminate(now, ARGV[4], epoch, first + count, ARGV[5], ARGV[6], ARGV[7],
  { 'usage', ARGV[8], 'error', ARGV[9], 'finish_reason', ARGV[10] })
return { 'ok' }
