-- Returns {whether anyone ever changed a consent, user, events, consents, user, ...} of the users that sent anything.
-- ARGV: prefix, oldest ts_us, users
local prefix = ARGV[1]
local found = {redis.call('EXISTS', prefix .. ':consenting')}
for i = 3, #ARGV do
    local events = redis.call('ZRANGE', prefix .. ':events:' .. ARGV[i], ARGV[2], '+inf', 'BYSCORE')
    local consents = redis.call('ZRANGE', prefix .. ':consents:' .. ARGV[i], 0, -1)
    if #events > 0 or #consents > 0 then
        found[#found + 1] = ARGV[i]
        found[#found + 1] = events
        found[#found + 1] = consents
    end
end
return found
