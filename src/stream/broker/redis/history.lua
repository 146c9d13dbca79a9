-- Reads what is kept after an offset, how old each is in ms, and where the channel stands, at one moment.
-- KEYS[1] the channel's numbering   [2] its history
-- ARGV[1] the offset   [2] a fresh epoch   [3] most messages   [4] how long an idle numbering is kept, ms
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
local envelopes, ages = {}, {}
if tonumber(ARGV[3]) > 0 and tonumber(ARGV[1]) < tonumber(offset) then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    for _, entry in ipairs(redis.call('XRANGE', KEYS[2], (tonumber(ARGV[1]) + 1) .. '-0', '+', 'COUNT', ARGV[3])) do
        envelopes[#envelopes + 1] = entry[2][4]
        ages[#ages + 1] = math.max(now - tonumber(entry[2][2]), 0)
    end
end
return { tonumber(offset), epoch, envelopes, ages }
