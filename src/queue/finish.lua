-- Ends entries of the stream KEYS[1] in the group ARGV[1]: acknowledged and deleted, so that the length is what waits.
local ids = {}
for i = 2, #ARGV do
  ids[#ids + 1] = ARGV[i]
end
redis.call('XACK', KEYS[1], ARGV[1], unpack(ids))
return redis.call('XDEL', KEYS[1], unpack(ids))
