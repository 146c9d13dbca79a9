-- One request against a bucket, all at once: answers 0, or how many microseconds to wait.
-- KEYS[1] the bucket; ARGV[1] what a request costs and ARGV[2] what may be ahead, in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local cost, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local ahead = math.max(tonumber(redis.call('GET', KEYS[1]) or now) - now, 0)
if ahead > burst then
    return math.ceil(ahead - burst)
end
-- The key is gone when it says nothing any more, so that Redis forgets by itself.
redis.call('SET', KEYS[1], string.format('%.0f', now + ahead + cost), 'PX', math.ceil((ahead + cost) / 1000))
return 0
