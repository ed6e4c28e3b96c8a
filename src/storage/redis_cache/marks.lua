-- Joins marks into the hash of all marks, in one step, and gives all of them to a caller who does not know them.
--
-- KEYS  the hash: what is purged -> the instant in 20 digits and a seal; and `version` -> a word for its contents
-- ARGV  the version that the caller knows, a new one, the most fields to believe in, how many wrong pairs follow,
--       the wrong pairs (field, value), the new marks (field, value)
-- gives the version, and all pairs if it is not the known one

local hash, known, new, most, wrong = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local LONGEST_FIELD, EVERYTHING = 1024, '"all"'
local changed = false

local function instant(value)
    return value:sub(1, 20)
end

local kind = redis.call('TYPE', hash).ok
if kind ~= 'none' and (kind ~= 'hash' or redis.call('HLEN', hash) > most) then
    redis.call('UNLINK', hash)
end

for i = 5, 3 + 2 * wrong, 2 do
    if redis.call('HGET', hash, ARGV[i]) == ARGV[i + 1] then
        redis.call('HDEL', hash, ARGV[i])
        changed = true
    end
end

local everything
for i = 5 + 2 * wrong, #ARGV, 2 do
    local field, value = ARGV[i], ARGV[i + 1]
    local old = redis.call('HGET', hash, field)
    if not old or #old ~= #value or instant(old) < instant(value) then
        redis.call('HSET', hash, field, value)
        changed = true
    end
    if field == EVERYTHING then
        everything = instant(value)
    end
end

-- A purge of everything says what all earlier ones said.
if everything then
    local pairs_of = redis.call('HGETALL', hash)
    for i = 1, #pairs_of, 2 do
        local field = pairs_of[i]
        if field ~= EVERYTHING and field ~= 'version' and instant(pairs_of[i + 1]) <= everything then
            redis.call('HDEL', hash, field)
        end
    end
end

if changed then
    redis.call('HSET', hash, 'version', new)
end
local version = (redis.call('HGET', hash, 'version') or ''):sub(1, #new)
if version == known then
    return { version }
end
local all, found = redis.call('HGETALL', hash), {}
for i = 1, #all, 2 do
    if all[i] ~= 'version' and #all[i] <= LONGEST_FIELD and #all[i + 1] < LONGEST_FIELD then
        found[#found + 1] = all[i]
        found[#found + 1] = all[i + 1]
    end
end
return { version, found }
