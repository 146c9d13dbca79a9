-- Publishes several messages of one channel in order, in one step. `publish` is the script of that name.
-- KEYS    the channel's numbering, history, publishers' keys
-- ARGV[1] the channel   [2] the nodes' channel   [3] a fresh epoch   [4..8] what is kept and how nodes are told, as there
-- ARGV[9] and on: the tags, the data and the key of each message
-- Answers the offset and the epoch of each, in one flat list.
local answers = {}
for at = 9, #ARGV, 3 do
    local told = publish(KEYS, { ARGV[1], ARGV[2], ARGV[3], ARGV[at], ARGV[at + 1], ARGV[at + 2],
        ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] })
    answers[#answers + 1] = tostring(told[1])
    answers[#answers + 1] = told[2]
end
return answers
