-- Drops the oldest entries of the log up to a position; returns how many that were.
-- ARGV: prefix, position, the most at once
local prefix = ARGV[1]
local entries = redis.call('XRANGE', prefix .. ':log', '-', ARGV[2], 'COUNT', ARGV[3])
for _, entry in ipairs(entries) do
    redis.call('XDEL', prefix .. ':log', entry[1])
    redis.call('SREM', prefix .. ':logged:' .. entry[2][4], entry[1])
end
return #entries
