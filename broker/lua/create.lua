-- The commit point of a submit. KEYS: job log request. Idempotent by the generation's id.
-- ARGV: tenant model metadata created_head request deadline_ms retention_ms tombstone_ms on_worker_loss cancel_after_ms
--       idempotency_key
-- `created_head` is the JSON of the first entry up to the value of its last member, created_at_ms.
local tenant, model, metadata, head, request = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local deadline, retention, tombstone = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local existing = redis.call('HGET', JOB, 'created_at')
if existing then return { 'exists', existing } end
local now = now_ms()
local life = deadline + 2 * retention
redis.call('DEL', LOG)
redis.call('HSET', JOB, 'tenant', tenant, 'model', model, 'metadata', metadata, 'created_at', text(now),
  'status', 'queued', 'epoch', text(now), 'top', text(now), 'seq', '1', 'owner', '', 'lease_until', '0',
  'attempt', '0', 'losses', '0', 'deadline_at', text(now + deadline), 'retention_ms', text(retention),
  'tombstone_ms', text(tombstone), 'on_worker_loss', ARGV[9], 'cancel_after_ms', ARGV[10], 'idempotency', ARGV[11])
redis.call('PEXPIRE', JOB, life + tombstone)
redis.call('XADD', LOG, id(now, 1), 'c', head .. text(now) .. '}')
redis.call('PEXPIRE', LOG, life)
redis.call('SET', KEYS[3], request, 'PX', life)
return { 'created', text(now) }
