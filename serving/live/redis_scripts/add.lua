-- Keeps a batch of events, or says that it must be judged again.
-- ARGV: prefix, generation, wall_us, believed_us, max_age_us, max_events, seconds that keys live, log_age_us, a day in us,
--       then of each event: id, user, ts_us (0: now), type, item (''), is_live (1 or 0), more ('')
-- A judgement holds for the generation that it was made in: erasures and consents begin another.
local prefix = ARGV[1]
local meta = prefix .. ':meta'
local state = redis.call('HMGET', meta, 'generation', 'newest_us', 'aged_us', 'seen_us')
local generation = state[1] or '0'
if generation ~= ARGV[2] then
    return {0, generation}
end

if redis.call('EXISTS', prefix .. ':log') == 0 then -- the first events ever: their users are noted from the beginning
    redis.call('SUNIONSTORE', prefix .. ':users', prefix .. ':users', prefix .. ':consenting')
    redis.call('HSET', meta, 'indexed', 1)
end

local day = tonumber(ARGV[9])
local now = tonumber(ARGV[3])
local newest = tonumber(state[2] or '0')
if newest >= now and newest - now <= tonumber(ARGV[4]) then
    now = newest -- the store's time does not go back
end

-- Ages count from one clock for all machines, that of Redis; see ageing.py for the rule.
local time = redis.call('TIME')
local clock = tonumber(time[1]) * 1000000 + tonumber(time[2])
local aged, seen = tonumber(state[3] or clock), tonumber(state[4] or clock)
if not state[3] or clock < seen or clock - seen > day / 1440 then
    aged = math.min(clock, aged + 24 * math.min(math.max(clock - seen, 0), day / 24))
    redis.call('HSET', meta, 'aged_us', string.format('%.0f', aged), 'seen_us', string.format('%.0f', clock))
end
aged = math.min(aged, clock)
local oldest = math.min(now, aged) - tonumber(ARGV[5])
local accepted, is_stamped, touched = 0, false, {}

for i = 10, #ARGV, 7 do
    local id, user, ts, kind, item, is_live, more = unpack(ARGV, i, i + 6)
    if redis.call('SET', prefix .. ':id:' .. redis.sha1hex(id), '', 'NX', 'EX', ARGV[7]) then
        accepted = accepted + 1
        if ts == '0' then
            ts, is_stamped = string.format('%.0f', now), true
        end
        local entry = redis.call('XADD', prefix .. ':log', '*',
            'event_id', id, 'user_id', user, 'ts_us', ts, 'event_type', kind, 'item_id', item, 'more', more)
        redis.call('SADD', prefix .. ':logged:' .. user, entry)
        touched[user] = touched[user] or 0
        if is_live == '1' and tonumber(ts) >= oldest then
            local seq = string.format('%016d', redis.call('HINCRBY', meta, 'seq', 1))
            -- members of one score are in the order of their bytes: that of arrival
            redis.call('ZADD', prefix .. ':events:' .. user, ts, table.concat({seq, ts, kind, item}, '\31'))
            touched[user] = 1
        end
    end
end

for user, is_live in pairs(touched) do
    redis.call('SADD', prefix .. ':users', user)
    if is_live == 1 then
        local key = prefix .. ':events:' .. user
        redis.call('ZREMRANGEBYSCORE', key, '-inf', '(' .. string.format('%.0f', oldest - day))
        redis.call('ZREMRANGEBYRANK', key, 0, -(tonumber(ARGV[6]) + 1))
        redis.call('EXPIRE', key, ARGV[7])
    end
end
if is_stamped then
    redis.call('HSET', meta, 'newest_us', string.format('%.0f', now))
end

-- What has waited in the log for too long goes, twice as much as came.
local last = string.format('(%.0f-0', math.max(0, aged - tonumber(ARGV[8]) - day) / 1000)
for _, entry in ipairs(redis.call('XRANGE', prefix .. ':log', '-', last, 'COUNT', 2 * accepted + 10)) do
    redis.call('XDEL', prefix .. ':log', entry[1])
    redis.call('SREM', prefix .. ':logged:' .. entry[2][4], entry[1])
    redis.call('HSET', meta, 'taken', entry[1])
end
return {1, generation, accepted}
