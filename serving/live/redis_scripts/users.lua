-- Returns {cursor, users}: some of those that anything is kept of; forgets those of whom all is past its age.
-- ARGV: prefix, cursor, about how many
local prefix = ARGV[1]
local page = redis.call('SSCAN', prefix .. ':users', ARGV[2], 'COUNT', ARGV[3])
local found = {}
for _, user in ipairs(page[2]) do
    if redis.call('EXISTS', prefix .. ':events:' .. user, prefix .. ':logged:' .. user, prefix .. ':consents:' .. user) > 0 then
        found[#found + 1] = user
    else
        redis.call('SREM', prefix .. ':users', user)
    end
end
return {page[1], found}
