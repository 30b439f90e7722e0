-- Keep where the answer is being made, for whoever takes the log over. KEYS: job.
-- ARGV: owner epoch upstream. Saying it twice does no harm: its reply may have been lost.
local h = redis.call('HMGET', JOB, 'owner', 'epoch', 'status')
if h[1] ~= ARGV[1] or h[2] ~= ARGV[2] or ended(h[3]) then return 0 end
make_way()
redis.call('HSET', JOB, 'upstream', ARGV[3])
return 1
