-- Forgets a user's events, log and consents, and begins another generation; returns how many live events that were.
-- ARGV: prefix, user
local prefix, user = ARGV[1], ARGV[2]
local deleted = redis.call('ZCARD', prefix .. ':events:' .. user)
for _, entry in ipairs(redis.call('SMEMBERS', prefix .. ':logged:' .. user)) do
    redis.call('XDEL', prefix .. ':log', entry)
end
redis.call('DEL', prefix .. ':events:' .. user, prefix .. ':logged:' .. user, prefix .. ':consents:' .. user)
redis.call('SREM', prefix .. ':consenting', user)
redis.call('SREM', prefix .. ':users', user)
redis.call('HINCRBY', prefix .. ':meta', 'generation', 1)
return deleted
