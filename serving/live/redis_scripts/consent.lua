-- Keeps a change of consent, and begins another generation: what was judged before is judged again.
-- ARGV: prefix, user, change
local prefix = ARGV[1]
local seq = redis.call('HINCRBY', prefix .. ':meta', 'seq', 1)
redis.call('ZADD', prefix .. ':consents:' .. ARGV[2], 'NX', seq, ARGV[3])
redis.call('SADD', prefix .. ':consenting', ARGV[2])
redis.call('SADD', prefix .. ':users', ARGV[2])
redis.call('HINCRBY', prefix .. ':meta', 'generation', 1)
return 1
