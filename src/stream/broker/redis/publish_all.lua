-- Publishes several messages of one channel in order, in one step: what `publish` does for each, but whatever is the same
-- for all of them is done once.
-- KEYS    the channel's numbering, history, publishers' keys
-- ARGV[1] the channel   [2] the nodes' channel   [3] a fresh epoch   [4..8] what is kept and how nodes are told, as there
-- ARGV[9] and on: the tags, the data and the key of each message
-- Answers the offset and the epoch of each, in one flat list.
local meta, log, keys = KEYS[1], KEYS[2], KEYS[3]
local most, most_bytes, longest = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('HSETNX', meta, 'epoch', ARGV[3]) == 1 then
    -- A numbering that was lost takes its history with it.
    redis.call('DEL', log, keys)
end
redis.call('PEXPIRE', meta, ARGV[7])
local epoch = redis.call('HGET', meta, 'epoch')

-- Repetitions keep their offset, also those within this call.
local names, repeated, new = {}, {}, 0
for at = 11, #ARGV, 3 do
    if ARGV[at] ~= '' then
        names[#names + 1] = ARGV[at]
    end
end
if #names > 0 then
    for n, offset in ipairs(redis.call('HMGET', keys, unpack(names))) do
        repeated[names[n]] = offset and tonumber(offset) or nil
    end
end
local first = {}
for at = 11, #ARGV, 3 do
    local name = ARGV[at]
    if name == '' or (not repeated[name] and (most == 0 or not first[name])) then
        first[name] = at
        new = new + 1
    end
end

-- Numbered before anything is written: whatever happens then, no number is given twice.
local offset = new > 0 and redis.call('HINCRBY', meta, 'offset', new) - new or 0
local now, bytes = 0, 0
if most > 0 and new > 0 then
    local time = redis.call('TIME')
    now = time[1] * 1000 + math.floor(time[2] / 1000)
    if redis.call('EXISTS', log) == 0 then
        redis.call('HSET', meta, 'bytes', 0)
    end
end
local answers, known = {}, {}
for at = 9, #ARGV, 3 do
    local tags, data, name = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local told = name ~= '' and repeated[name]
    if not told then
        offset = offset + 1
        told = offset
        local envelope = offset .. ' ' .. epoch .. ' ' .. #name .. ' ' .. tags .. '\n' .. name .. data
        if most > 0 then
            redis.call('XADD', log, offset .. '-0', 't', now, 'e', envelope, 'k', name)
            bytes = bytes + #envelope
            if name ~= '' then
                repeated[name] = offset
                known[#known + 1] = name
                known[#known + 1] = offset
            end
        end
        redis.call(ARGV[8], ARGV[2], envelope)
        redis.call(ARGV[8], ARGV[1], data)
    end
    answers[#answers + 1] = tostring(told)
    answers[#answers + 1] = epoch
end

if #known > 0 then
    redis.call('HSET', keys, unpack(known))
    redis.call('PEXPIRE', keys, longest)
end
if most > 0 and new > 0 then
    bytes = redis.call('HINCRBY', meta, 'bytes', bytes)
    local count, over = redis.call('XLEN', log), true
    while over and count > 0 do
        local ids, gone, freed = {}, {}, 0
        for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', new + 1)) do
            local fields = entry[2]
            over = count > most or bytes > most_bytes or now - tonumber(fields[2]) > longest
            if not over then
                break
            end
            ids[#ids + 1] = entry[1]
            if fields[6] ~= '' then
                gone[#gone + 1] = fields[6]
            end
            count, bytes, freed = count - 1, bytes - #fields[4], freed + #fields[4]
        end
        if #ids > 0 then
            redis.call('XDEL', log, unpack(ids))
            redis.call('HINCRBY', meta, 'bytes', -freed)
        end
        if #gone > 0 then
            redis.call('HDEL', keys, unpack(gone))
        end
    end
    redis.call('PEXPIRE', log, longest)
end
return answers
