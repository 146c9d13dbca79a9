-- Publishes one message: numbers it, keeps it, tells the Fanfare nodes with its envelope, then everybody with the plain
-- data. The two stand next to each other in every subscriber's stream, because a script runs alone.
-- KEYS    the channel's numbering (hash), history (stream), publishers' keys (hash: key -> offset)
-- ARGV[1] the channel   [2] the nodes' channel   [3] a fresh epoch   [4] the tags as JSON   [5] the data   [6] the key or ''
-- ARGV[7] most messages kept   [8] most bytes   [9] longest age, ms   [10] how long an idle numbering is kept, ms
-- ARGV[11] PUBLISH, or SPUBLISH on a cluster   [12] the data's version, and [13] of what, where it has one: an older one
-- than the newest is not published
-- Answers the offset, the epoch, and 1 when it was a repetition.
local meta, log, keys = KEYS[1], KEYS[2], KEYS[3]
if redis.call('HSETNX', meta, 'epoch', ARGV[3]) == 1 then
    -- A numbering that was lost takes its history with it.
    redis.call('DEL', log, keys)
end
redis.call('PEXPIRE', meta, ARGV[10])
local epoch = redis.call('HGET', meta, 'epoch')
if ARGV[6] ~= '' then
    local seen = redis.call('HGET', keys, ARGV[6])
    if seen then
        return { tonumber(seen), epoch, 1 }
    end
end
if ARGV[12] then
    local newest = redis.call('HMGET', meta, 'version', 'version_of')
    local had = newest[1]
    -- Whole numbers of up to 64 bits, which Lua's own numbers do not hold.
    if had and newest[2] == ARGV[13] and (#had > #ARGV[12] or (#had == #ARGV[12] and had >= ARGV[12])) then
        return { tonumber(redis.call('HGET', meta, 'offset') or '0'), epoch, 1 }
    end
    redis.call('HSET', meta, 'version', ARGV[12], 'version_of', ARGV[13])
end
local offset = redis.call('HINCRBY', meta, 'offset', 1)
local envelope = offset .. ' ' .. epoch .. ' ' .. #ARGV[6] .. ' ' .. ARGV[4] .. '\n' .. ARGV[6] .. ARGV[5]
local most, most_bytes, longest = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if most > 0 then
    local time = redis.call('TIME')
    local now = time[1] * 1000 + math.floor(time[2] / 1000)
    if redis.call('EXISTS', log) == 0 then
        redis.call('HSET', meta, 'bytes', 0)
    end
    redis.call('XADD', log, offset .. '-0', 't', now, 'e', envelope, 'k', ARGV[6])
    local bytes = redis.call('HINCRBY', meta, 'bytes', #envelope)
    if ARGV[6] ~= '' then
        redis.call('HSET', keys, ARGV[6], offset)
        redis.call('PEXPIRE', keys, longest)
    end
    local count = redis.call('XLEN', log)
    while count > 0 do
        local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
        local fields = oldest[2]
        if count <= most and bytes <= most_bytes and now - tonumber(fields[2]) <= longest then
            break
        end
        redis.call('XDEL', log, oldest[1])
        bytes = redis.call('HINCRBY', meta, 'bytes', -#fields[4])
        if fields[6] ~= '' then
            redis.call('HDEL', keys, fields[6])
        end
        count = count - 1
    end
    redis.call('PEXPIRE', log, longest)
end
redis.call(ARGV[11], ARGV[2], envelope)
redis.call(ARGV[11], ARGV[1], ARGV[5])
return { offset, epoch, 0 }
