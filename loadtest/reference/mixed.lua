-- The mix of scenarios/mixed.ts for wrk, which costs next to nothing beside the server: requests as fast as they are answered.
local items, path = 10000, "/api/v1/inventory"
local headers = { ["Content-Type"] = "application/json" }
math.randomseed(7)

local function list()
  local which = math.random(0, 4)
  if which == 0 then return "?limit=20" end
  if which == 1 then return "?limit=20&page=" .. math.random(1, items / 20) end
  if which == 2 then return "?limit=20&active=true&category=Category%20" .. math.random(0, 19) end
  if which == 3 then return "?limit=50&page=" .. math.random(1, 10) end
  return "?limit=20&low_stock=true"
end

function request()
  local which = math.random(0, 99)
  if which < 60 then return wrk.format("GET", path .. list(), headers) end
  local item = path .. "/" .. math.random(1, items)
  if which < 90 then return wrk.format("GET", item, headers) end
  return wrk.format("POST", item .. "/adjust", headers, '{"delta": 1}')
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %.0f %.2f %.2f %d\n", summary.requests / summary.duration * 1e6,
    latency:percentile(50) / 1000, latency:percentile(95) / 1000,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
