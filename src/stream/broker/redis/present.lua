-- Reads who watches a channel, and where its presence channel stands, at one moment. Clients of nodes whose lease has run
-- out are there until that is told: a list is what has been told, no more and no less.
-- KEYS[1] the presence channel's numbering   [2] nodes by the end of their lease
-- ARGV[1] a fresh epoch   [2] how long an idle numbering is kept, ms   [3] the most clients that are listed
-- Answers the offset, the epoch, how many clients and users there are, how many leases have run out, and the entries.
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local most, clients, users = tonumber(ARGV[3]), 0, 0
local entries, known = {}, {}
local nodes = redis.call('ZRANGE', KEYS[2], 0, -1)
for _, node in ipairs(nodes) do
    local key = KEYS[2] .. ':' .. node
    local size = redis.call('HLEN', key)
    clients = clients + size
    if size <= most - #entries then
        for _, entry in ipairs(redis.call('HVALS', key)) do
            entries[#entries + 1] = entry
        end
    else
        -- Not all of them are read when only some are wanted.
        local cursor = '0'
        repeat
            local page = redis.call('HSCAN', key, cursor, 'COUNT', 200)
            cursor = page[1]
            for index = 2, #page[2], 2 do
                if #entries < most then
                    entries[#entries + 1] = page[2][index]
                end
            end
        until cursor == '0' or #entries >= most
    end
    if #nodes == 1 then
        users = redis.call('HLEN', key .. ':users')
    else
        for _, user in ipairs(redis.call('HKEYS', key .. ':users')) do
            if not known[user] then
                known[user] = true
                users = users + 1
            end
        end
    end
end
local expired = redis.call('ZCOUNT', KEYS[2], '-inf', now)
return { tonumber(offset), epoch, clients, users, expired, entries }
