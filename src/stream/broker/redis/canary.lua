-- Says through the channel itself where the channel stands: whoever hears it knows that the channel works and whether
-- something was missed before.
-- KEYS[1] the channel's numbering
-- ARGV[1] the nodes' channel   [2] a fresh epoch   [3] the nonce   [4] how long an idle numbering is kept, ms
-- ARGV[5] PUBLISH, or SPUBLISH on a cluster
redis.call('HSETNX', KEYS[1], 'epoch', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local epoch = redis.call('HGET', KEYS[1], 'epoch')
local offset = redis.call('HGET', KEYS[1], 'offset') or '0'
redis.call(ARGV[5], ARGV[1], '@ ' .. offset .. ' ' .. epoch .. ' ' .. ARGV[3])
return { tonumber(offset), epoch }
