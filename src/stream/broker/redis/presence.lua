-- Writes down who has come to a channel and who has left it, prolongs the node's lease, ends the leases that have run
-- out, and publishes all of it in the same step. `publish` is the script of that name.
-- KEYS[1..3] the presence channel's numbering, history, publishers' keys   [4] nodes by the end of their lease
-- KEYS[5] the number of each node's last note   [6] this node's clients   [7] how many each of its users has
-- ARGV[1] the watched channel as JSON   [2] the presence channel   [3] its nodes' channel   [4] a fresh epoch
-- ARGV[5] most messages kept   [6] most bytes   [7] longest age, ms   [8] how long an idle numbering is kept, ms
-- ARGV[9] PUBLISH, or SPUBLISH on a cluster   [10] the node   [11] its lease, ms
-- ARGV[12] the number of its last note   [13] of this one   [14] most events; -1: none is published   [15] the time
-- ARGV[16] `stays`, `goes`, or `looks`, which only ends leases   [17] how many have come; then the client and the entry
-- of each, then the clients that have left
-- Answers 1 when the last note is known here, else 0.
local nodes, numbers, node, lease = KEYS[4], KEYS[5], ARGV[10], tonumber(ARGV[11])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most = tonumber(ARGV[14])
local mode = ARGV[16]
local had = redis.call('HGET', numbers, node) or '0'
local held = tonumber(redis.call('ZSCORE', nodes, node) or 'inf')
if held <= now then
    -- This node is alive and yet its lease has run out: it was the broker that was silent, and the others get one more.
    for _, other in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', now)) do
        redis.call('ZADD', nodes, now + lease, other)
    end
end
if mode ~= 'looks' then
    redis.call('HSET', numbers, node, ARGV[13])
    redis.call('ZADD', nodes, mode == 'goes' and now or now + lease, node)
end

local events, joined, left = {}, 0, 0
local function event(action, entry, reason)
    if action == 'join' then joined = joined + 1 else left = left + 1 end
    if #events < most then
        events[#events + 1] = '{"message_type":"presence","action":"' .. action .. '","channel":' .. ARGV[1] .. ','
            .. string.sub(entry, 2, -2) .. ',"timestamp":"' .. ARGV[15] .. '"' .. reason .. '}'
    end
end

local own, users = KEYS[6], KEYS[7]
local function count(entry, by)
    local user = cjson.decode(entry).user
    if type(user) == 'string' and redis.call('HINCRBY', users, user, by) <= 0 then
        redis.call('HDEL', users, user)
    end
end

local first_left = 18 + 2 * tonumber(ARGV[17])
for index = 18, first_left - 1, 2 do
    if redis.call('HSETNX', own, ARGV[index], ARGV[index + 1]) == 1 then
        count(ARGV[index + 1], 1)
        event('join', ARGV[index + 1], '')
    end
end
for index = first_left, #ARGV do
    local entry = redis.call('HGET', own, ARGV[index])
    if entry then
        redis.call('HDEL', own, ARGV[index])
        count(entry, -1)
        event('leave', entry, '')
    end
end

-- Whoever comes first takes the dead node's clients away, and tells it, once.
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', nodes, '-inf', now)) do
    local key = nodes .. ':' .. gone
    local reason = gone == node and '' or ',"reason":"lease expired"'
    local size = redis.call('HLEN', key)
    if joined + left + size > most then
        -- They are told as a number: a hundred thousand are not to be read for that, nor freed while everybody waits.
        left = left + size
    else
        for _, entry in ipairs(redis.call('HVALS', key)) do
            event('leave', entry, reason)
        end
    end
    redis.call('UNLINK', key, key .. ':users')
    redis.call('ZREM', nodes, gone)
    redis.call('HDEL', numbers, gone)
end

-- Nothing is left for good when all nodes die at once.
local keep = math.max(6 * lease, 60000)
for _, key in ipairs({ nodes, numbers, own, users }) do
    redis.call('PEXPIRE', key, keep)
end

if most >= 0 and joined + left > most then
    local clients = 0
    for _, alive in ipairs(redis.call('ZRANGE', nodes, 0, -1)) do
        clients = clients + redis.call('HLEN', nodes .. ':' .. alive)
    end
    events = { '{"message_type":"presence","action":"many","channel":' .. ARGV[1] .. ',"joined":' .. joined
        .. ',"left":' .. left .. ',"num_clients":' .. clients .. ',"timestamp":"' .. ARGV[15] .. '"}' }
end
for _, data in ipairs(events) do
    publish({ KEYS[1], KEYS[2], KEYS[3] },
        { ARGV[2], ARGV[3], ARGV[4], '[]', data, '', ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9] })
end
return had == ARGV[12] and 1 or 0
