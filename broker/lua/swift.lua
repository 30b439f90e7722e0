-- The usual append, before anything else is even defined: one entry that goes on from the last one of the same owner
-- and epoch. Whatever is not exactly that is for append.lua to judge. KEYS and ARGV as there.
-- Numbers are compared and written as the text they come as: nothing is computed that need not be.
if #ARGV == 9 and ARGV[6] == '' and ARGV[7] == '' and #ARGV[9] < 32768 then
  local job, epoch, seq, field, value = KEYS[1], ARGV[2], ARGV[3], ARGV[8], ARGV[9]
  local j = redis.call('HMGET', job, 'status', 'owner', 'epoch', 'top', 'seq', 'cancel')
  if j[1] == 'running' and j[2] == ARGV[1] and j[3] == epoch and j[4] == epoch and j[5]
    and tonumber(j[5]) == tonumber(seq) - 1 then
    if not redis.call('XADD', KEYS[2], 'NOMKSTREAM', epoch .. '-' .. seq, field, value) then return { 'gone' } end
    redis.call('PUBLISH', ARGV[5], 'E ' .. epoch .. ' ' .. seq .. ' 1 ' .. epoch .. '\n'
      .. #field .. ' ' .. #value .. '\n' .. field .. value)
    if ARGV[4] == '' then
      redis.call('HSET', job, 'seq', seq)
    else
      local t = redis.call('TIME')
      local lease = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[4]
      redis.call('HSET', job, 'seq', seq, 'lease_until', string.format('%.0f', lease))
    end
    return { 'ok', j[6] or '' }
  end
end
