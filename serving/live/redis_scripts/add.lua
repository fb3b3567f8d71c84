-- Keeps a batch of events, or says that it must be judged again.
-- ARGV: prefix, generation, wall_us, believed_us, max_age_us, max_events, seconds that keys live, stream's oldest id,
--       then of each event: id, user, ts_us (0: now), type, item (''), is_live (1 or 0), more ('')
-- A judgement holds for the generation that it was made in: erasures and consents begin another.
local prefix = ARGV[1]
local meta = prefix .. ':meta'
local generation = redis.call('HGET', meta, 'generation') or '0'
if generation ~= ARGV[2] then
    return {0, generation}
end

local now = tonumber(ARGV[3])
local newest = tonumber(redis.call('HGET', meta, 'newest_us') or '0')
if newest >= now and newest - now <= tonumber(ARGV[4]) then
    now = newest -- the store's time does not go back
end
local oldest = now - tonumber(ARGV[5])
local accepted, is_stamped, touched = 0, false, {}

for i = 9, #ARGV, 7 do
    local id, user, ts, kind, item, is_live, more = unpack(ARGV, i, i + 6)
    if redis.call('SET', prefix .. ':id:' .. redis.sha1hex(id), '', 'NX', 'EX', ARGV[7]) then
        accepted = accepted + 1
        if ts == '0' then
            ts, is_stamped = string.format('%.0f', now), true
        end
        redis.call('XADD', prefix .. ':log', 'MINID', '~', ARGV[8], '*',
            'event_id', id, 'user_id', user, 'ts_us', ts, 'event_type', kind, 'item_id', item, 'more', more)
        if is_live == '1' and tonumber(ts) >= oldest then
            local seq = string.format('%016d', redis.call('HINCRBY', meta, 'seq', 1))
            -- members of one score are in the order of their bytes: that of arrival
            redis.call('ZADD', prefix .. ':events:' .. user, ts, table.concat({seq, ts, kind, item}, '\31'))
            touched[user] = true
        end
    end
end

for user, _ in pairs(touched) do
    local key = prefix .. ':events:' .. user
    redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', oldest))
    redis.call('ZREMRANGEBYRANK', key, 0, -(tonumber(ARGV[6]) + 1))
    redis.call('EXPIRE', key, ARGV[7])
end
if is_stamped then
    redis.call('HSET', meta, 'newest_us', string.format('%.0f', now))
end
return {1, generation, accepted}
