-- Removes consumers of the group ARGV[1] that have nothing in hand: the one named ARGV[3], and all that have been silent
-- for ARGV[2] milliseconds. One with entries in hand must stay, as its entries would never be claimed without it.
local removed = 0
for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local field = {}
  for i = 1, #consumer, 2 do
    field[consumer[i]] = consumer[i + 1]
  end
  local old = field['name'] == ARGV[3] or field['idle'] > tonumber(ARGV[2])
  if old and field['pending'] == 0 then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], field['name'])
    removed = removed + 1
  end
end
return removed
