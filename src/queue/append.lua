-- Appends entries to the stream KEYS[1] unless more than ARGV[1] would wait then; all or none. Answers 1, or 0 when full.
if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then
  return 0
end
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'p', ARGV[i])
end
return 1
