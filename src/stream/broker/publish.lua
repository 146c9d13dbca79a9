-- Publishes one message: numbers it, tells the Fanfare nodes with its envelope, then everybody with the plain data.
-- Both PUBLISH stand next to each other in every subscriber's stream, because a script runs alone.
-- KEYS[1] the channel's meta hash
-- ARGV[1] the channel, ARGV[2] the nodes' channel, ARGV[3] a fresh epoch, ARGV[4] the tags as JSON, ARGV[5] the data
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[3])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('PUBLISH', ARGV[2], offset .. ' ' .. epoch .. ' ' .. ARGV[4] .. '\n' .. ARGV[5])
redis.call('PUBLISH', ARGV[1], ARGV[5])
return { offset, epoch }
