-- Starts the numbering anew when numbers have been given out twice, as after a failover that lost the last of them.
-- KEYS    the channel's numbering, history, publishers' keys
-- ARGV[1] the epoch that must end   [2] a fresh epoch
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'bytes', 0)
return 1
