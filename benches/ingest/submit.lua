-- wrk: submissions with real prompts, each a request of its own. Connections begin at different prompts.
--
-- Answers other than 202 are counted and printed at the end: a fast refusal is no submission.

local prompts = {}
for line in io.lines(os.getenv("PROMPTS")) do
  if #line > 0 then
    prompts[#prompts + 1] = line:gsub('\\', '\\\\'):gsub('"', '\\"')
  end
end

local threads = {}
function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local headers = { ["Content-Type"] = "application/json" }
local at
refused = 0

function init(args)
  at = number * 7
end

function request()
  at = at + 1
  local body = '{"prompt": "' .. prompts[at % #prompts + 1] .. '"}'
  return wrk.format("POST", "/api/generate", headers, body)
end

function response(status)
  if status ~= 202 then refused = refused + 1 end
end

function done(summary, latency, requests)
  local refused_all = 0
  for _, thread in ipairs(threads) do refused_all = refused_all + thread:get("refused") end
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "duration_s": %.6f, "refused": %d, "socket_errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6, refused_all, errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
