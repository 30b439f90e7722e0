-- The compare half of a compare-and-append (docs/adr/0002): where do entries first..first+n-1 of this writer stand?
-- Answers the number of entries that are already there, or nil and the reply to give.
local function compare(h, owner, epoch, first, count)
  local status, holder, held = h[1], h[2], tonumber(h[3])
  if not status or redis.call('EXISTS', LOG) == 0 then return nil, { 'gone' } end
  if held < epoch then return nil, { 'diverged' } end
  if holder ~= owner or held ~= epoch then return nil, { ended(status) and 'ended' or 'fenced' } end
  local top, seq = tonumber(h[4]), tonumber(h[5])
  if seq < first - 1 then return nil, { 'behind', text(top), text(seq) } end
  local there = seq - first + 1
  if there > 0 and top ~= epoch then return nil, { 'diverged' } end
  return math.min(there, count), nil
end

local function add(channel, before, epoch, first, pairs_)
  for i = 1, #pairs_, 2 do
    redis.call('XADD', LOG, 'NOMKSTREAM', id(epoch, first + (i - 1) / 2), pairs_[i], pairs_[i + 1])
  end
  if #pairs_ > 0 then notice(channel, before, epoch, first, pairs_) end
end

local function rest(from)
  local pairs_ = {}
  for i = from, #ARGV do pairs_[#pairs_ + 1] = ARGV[i] end
  return pairs_
end
