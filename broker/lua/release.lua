-- Hand the log over in good order: the next claim need not wait and does not count as a loss. KEYS: job.
-- ARGV: owner epoch. Saying it twice does no harm: its reply may have been lost.
local h = redis.call('HMGET', JOB, 'owner', 'epoch')
if h[2] ~= ARGV[2] then return 0 end
if h[1] == '' then return 1 end
if h[1] ~= ARGV[1] then return 0 end
make_way()
redis.call('HSET', JOB, 'owner', '', 'lease_until', '0')
return 1
