/**
 * What must not be torn apart runs within Redis. Each script stays within the keys of one upstream and repository, which
 * share a slot of a cluster. A key that holds something else than we put there is taken for absent, and replaced. What
 * Redis refuses otherwise, as every write when its memory is full, leaves all as it was, and is the script's answer: the
 * first write says so, since a script that has written once may go on.
 *
 * An entry is a hash: `v` the version of this layout, `e` the entry as its document has it, `u` and `n` its last use and its
 * downloads. A tag also has `d`, its digest, `w` and `c`, when it was written and checked; a link `o`, its origin.
 */
const helpers = `
local function write(command, key, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) ~= 'table' or not reply.err then return end
  if string.find(reply.err, '^WRONGTYPE') then
    redis.call('DEL', key)
    redis.call(command, key, ...)
  else
    return reply
  end
end
local function put(key, ...) return write('HSET', key, ...) end
local function enlist(key, member) return write('ZADD', key, 0, member) end
local function get(key, ...)
  local found = redis.pcall('HMGET', key, ...)
  if found.err then return {} end
  return found
end
local function mention(prefix, manifest, first)
  for i = first, #ARGV, 2 do
    local refused = put(prefix .. ARGV[i], manifest, ARGV[i + 1])
    if refused then return refused end
  end
end
`

/** KEYS: list. ARGV: member. */
export const enlistScript = `${helpers}
return enlist(KEYS[1], ARGV[1]) or 1`

/** KEYS: hash. ARGV: field, value. */
export const putFieldScript = `${helpers}
return put(KEYS[1], ARGV[1], ARGV[2]) or 1`

/**
 * KEYS: entry, list. ARGV: version, entry, digest, writtenAt, checkedAt, member. Where it is refused, no older digest stays
 * either: it would be believed, and of what is not here the document is read.
 */
export const putTagScript = `${helpers}
local known = get(KEYS[1], 'v', 'w', 'c', 'd')
if known[1] == ARGV[1] then
  local written, checked = tonumber(known[2] or ''), tonumber(known[3] or '')
  local newWritten, newChecked = tonumber(ARGV[4]), tonumber(ARGV[5])
  if written and checked and
    (written > newWritten or (written == newWritten and checked > newChecked)) then return 0 end
end
local refused = put(KEYS[1], 'v', ARGV[1], 'e', ARGV[2], 'd', ARGV[3], 'w', ARGV[4], 'c', ARGV[5])
if not refused then return enlist(KEYS[2], ARGV[6]) or 1 end
if known[4] and known[4] ~= ARGV[3] then redis.pcall('HDEL', KEYS[1], 'e') end
return refused`

/**
 * KEYS: the tag's pending, tags pending on its digest. ARGV: tag, pending, milliseconds to keep it, checkedAt, most tags,
 * most walks. Walks that were there before stay, since other registries may have asked at other replicas.
 */
export const putPendingScript = `${helpers}
local function walksOf(text)
  local ok, pending = pcall(cjson.decode, text)
  local walks = ok and type(pending) == 'table' and pending.walks
  return type(walks) == 'table' and walks or {}
end
local function isWalk(walk)
  return type(walk) == 'table' and type(walk.registry) == 'string' and type(walk.ns) == 'string'
end
local function nameOf(walk) return cjson.encode({walk.registry, walk.ns}) end
local ours, known, walks = walksOf(ARGV[2]), {}, {}
for _, walk in ipairs(ours) do known[nameOf(walk)] = true end
for _, walk in ipairs(walksOf(redis.pcall('GET', KEYS[1]))) do
  if isWalk(walk) and not known[nameOf(walk)] then walks[#walks + 1] = {registry = walk.registry, ns = walk.ns} end
end
local text = ARGV[2]
if #walks > 0 then
  for _, walk in ipairs(ours) do walks[#walks + 1] = walk end
  local pending = cjson.decode(text)
  pending.walks = {unpack(walks, math.max(1, #walks - ARGV[6] + 1))}
  text = cjson.encode(pending)
end
local refused = write('SET', KEYS[1], text, 'PX', ARGV[3]) or write('ZADD', KEYS[2], ARGV[4], ARGV[1])
if refused then return refused end
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -(ARGV[5] + 1))
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1`

/** KEYS: tags pending on a digest. ARGV: the prefix of the keys of what is pending. Gives tags, each with what is pending for it. */
export const pendingOnScript = `
local found, tags = {}, redis.pcall('ZRANGE', KEYS[1], 0, -1)
if tags.err then return found end
for _, tag in ipairs(tags) do
  local pending = redis.pcall('GET', ARGV[1] .. tag)
  if type(pending) == 'string' then found[#found + 1] = {tag, pending} end
end
return found`

/** KEYS: entry. ARGV: digest, checkedAt. */
export const touchTagScript = `${helpers}
if get(KEYS[1], 'd')[1] ~= ARGV[1] then return 0 end
return put(KEYS[1], 'c', ARGV[2]) or 1`

/** KEYS: entry, list. ARGV: member. */
export const deleteTagScript = `
redis.call('DEL', KEYS[1])
redis.pcall('ZREM', KEYS[2], ARGV[1])
return 1`

/**
 * KEYS: entry, list. ARGV: version, entry, origin, member, the manifest's digest, the prefix of the keys of mentions, then
 * some children's digests, each with what is said of it. Gives the origin there was before, and the entry if it was another.
 */
export const putLinkScript = `${helpers}
local known = get(KEYS[1], 'e', 'o')
local refused = put(KEYS[1], 'v', ARGV[1], 'e', ARGV[2], 'o', ARGV[3]) or enlist(KEYS[2], ARGV[4]) or
  mention(ARGV[6], ARGV[5], 7)
if refused then return refused end
return {known[2] or '', known[1] ~= ARGV[2] and known[1] or ''}`

/** KEYS: entry, list. ARGV: member. Gives the origin and the entry. */
export const deleteLinkScript = `${helpers}
local known = get(KEYS[1], 'e', 'o')
redis.call('DEL', KEYS[1])
redis.pcall('ZREM', KEYS[2], ARGV[1])
return {known[2] or '', known[1] or ''}`

/** KEYS: entry. ARGV: the manifest's digest, the prefix of the keys of mentions, then as for a link. */
export const mentionScript = `${helpers}
return mention(ARGV[2], ARGV[1], 3) or 1`

/** KEYS: entry. ARGV: the manifest's digest, the prefix of the keys of mentions, children's digests. */
export const unmentionScript = `
for i = 3, #ARGV do redis.pcall('HDEL', ARGV[2] .. ARGV[i], ARGV[1]) end
return 1`

/** KEYS: entry. ARGV: the least that its usedAt and its downloads may be. */
export const raiseUseScript = `${helpers}
local known = get(KEYS[1], 'e', 'u', 'n')
if not known[1] then return 0 end
local used = math.max(tonumber(known[2] or '') or 0, tonumber(ARGV[1]))
local downloads = math.max(tonumber(known[3] or '') or 0, tonumber(ARGV[2]))
return put(KEYS[1], 'u', string.format('%.0f', used), 'n', string.format('%.0f', downloads)) or 1`

/** KEYS: entry. ARGV: usedAt, downloads. */
export const useScript = `${helpers}
local known = get(KEYS[1], 'e', 'u', 'n')
if not known[1] then return 0 end
local used = math.max(tonumber(known[2] or '') or 0, tonumber(ARGV[1]))
local downloads = (tonumber(known[3] or '') or 0) + tonumber(ARGV[2])
return put(KEYS[1], 'u', string.format('%.0f', used), 'n', string.format('%.0f', downloads)) or 1`
