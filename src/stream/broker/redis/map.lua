-- Changes or reads the map of a channel. What is written down and what is published are one step. `publish` is the script
-- of that name.
-- KEYS[1..3] the channel's numbering, history, publishers' keys   [4] the map: key -> the envelope of its publication
-- KEYS[5] its keys in order   [6] when keys end, ms   [7] versions
-- ARGV[1] what to do   [2] the channel   [3] the nodes' channel   [4] a fresh epoch   [5..9] as the end of `publish`
-- ARGV[10] s where numbers are told, e where not   [11] how long keys live, ms, 0 for good   [12] most keys
-- ARGV[13] the key, or that behind which is read   [14] its tags as JSON, or how many are read   [15] the data
-- ARGV[16] the publisher's own key   [17] any, new or old: which keys are written   [18] version   [19] its epoch
-- Answers the offset, the epoch, why nothing was changed or '', a number, and envelopes.
local map, order, ends, versions = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local what, ttl, key = ARGV[1], tonumber(ARGV[11]), ARGV[13]
local AT_ONCE = 500
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function tell(tags, data, name)
    return publish({ KEYS[1], KEYS[2], KEYS[3] },
        { ARGV[2], ARGV[3], ARGV[4], tags, data, name, ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9] })
end

local function forget(gone)
    redis.call('HDEL', map, gone)
    redis.call('ZREM', order, gone)
    redis.call('ZREM', ends, gone)
    redis.call('HDEL', versions, gone)
end

local function remove(gone)
    forget(gone)
    tell('[["_map",' .. cjson.encode(ARGV[10] .. '-' .. gone) .. ']]', 'null', '')
end

for _, gone in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, AT_ONCE)) do
    remove(gone)
end

local why, number, envelopes = '', 0, {}
if what == 'write' or what == 'remove' or what == 'renew' then
    local there = redis.call('HEXISTS', map, key) == 1
    if what == 'renew' and there then
        redis.call('ZADD', ends, 'XX', now + ttl, key)
        why = 'renewed'
    elseif (what == 'remove' or ARGV[17] == 'old') and not there then
        why = 'key_not_found'
    elseif ARGV[17] == 'new' and there then
        why = 'key_exists'
    elseif not there and redis.call('HLEN', map) >= tonumber(ARGV[12]) then
        why = 'full'
    elseif ARGV[18] ~= '0' then
        local known = redis.call('HGET', versions, key)
        local version, epoch = string.match(known or '', '^(%d+) (.*)$')
        if version and epoch == ARGV[19] and tonumber(version) >= tonumber(ARGV[18]) then
            why = 'version'
        end
    end
    if why == '' then
        local told = tell(ARGV[14], ARGV[15], ARGV[16])
        if told[3] == 1 then
            return { told[1], told[2], 'idempotency', 0, {} }
        end
        if what == 'remove' then
            forget(key)
        else
            redis.call('HSET', map, key,
                told[1] .. ' ' .. told[2] .. ' ' .. #ARGV[16] .. ' ' .. ARGV[14] .. '\n' .. ARGV[16] .. ARGV[15])
            redis.call('ZADD', order, 0, key)
            if ttl > 0 then
                redis.call('ZADD', ends, now + ttl, key)
            end
            if ARGV[18] ~= '0' then
                redis.call('HSET', versions, key, ARGV[18] .. ' ' .. ARGV[19])
            end
        end
        number = 1
    end
elseif what == 'read' then
    local most = tonumber(ARGV[14])
    local names = redis.call('ZRANGEBYLEX', order, key == '' and '-' or '(' .. key, '+', 'LIMIT', 0, most + 1)
    if #names > most then
        names[#names], number = nil, 1
    end
    if #names > 0 then
        envelopes = redis.call('HMGET', map, unpack(names))
    end
elseif what == 'clear' then
    for _, gone in ipairs(redis.call('ZRANGE', order, 0, AT_ONCE - 1)) do
        remove(gone)
    end
    number = redis.call('HLEN', map)
elseif what == 'count' then
    number = redis.call('HLEN', map)
elseif what == 'sweep' then
    local next = redis.call('ZRANGE', ends, 0, 0, 'WITHSCORES')[2]
    number = next and math.max(tonumber(next) - now, 0) or -1
end

if ttl > 0 then
    -- Nothing is left for good where nobody comes back. Longer than the numbering: a client that recovers by that has
    -- been told of every key that ended.
    for _, kept in ipairs({ map, order, ends, versions }) do
        redis.call('PEXPIRE', kept, 2 * tonumber(ARGV[8]))
    end
end
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[8])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
return { tonumber(offset), epoch, why, number, envelopes }
