-- Forgets a user's events and consents, and begins another generation; returns how many events that were.
-- ARGV: prefix, user
local prefix, user = ARGV[1], ARGV[2]
local deleted = redis.call('ZCARD', prefix .. ':events:' .. user)
redis.call('DEL', prefix .. ':events:' .. user, prefix .. ':consents:' .. user)
redis.call('SREM', prefix .. ':consenting', user)
redis.call('HINCRBY', prefix .. ':meta', 'generation', 1)
return deleted
