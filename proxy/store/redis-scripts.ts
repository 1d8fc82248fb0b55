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
local function childrenOf(entry)
  local ok, value = pcall(cjson.decode, entry or '')
  if ok and type(value) == 'table' and type(value.children) == 'table' then return value.children end
  return {}
end
local function forget(prefix, children, manifest)
  for _, child in ipairs(children) do
    if type(child) == 'table' and type(child.digest) == 'string' then
      redis.pcall('HDEL', prefix .. child.digest, manifest)
    end
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
 * KEYS: entry, list. ARGV: version, entry, origin, member, the manifest's digest or nothing, the prefix of the keys of
 * mentions, then each child's digest and what is said of it. Gives the origin there was before.
 */
export const putLinkScript = `${helpers}
local known = get(KEYS[1], 'e', 'o')
local refused = put(KEYS[1], 'v', ARGV[1], 'e', ARGV[2], 'o', ARGV[3]) or enlist(KEYS[2], ARGV[4])
if refused then return refused end
if ARGV[5] ~= '' then
  forget(ARGV[6], childrenOf(known[1]), ARGV[5])
  for i = 7, #ARGV, 2 do put(ARGV[6] .. ARGV[i], ARGV[5], ARGV[i + 1]) end
end
return known[2]`

/** KEYS: entry, list. ARGV: member, the manifest's digest or nothing, the prefix of the keys of mentions. Gives the origin. */
export const deleteLinkScript = `${helpers}
local known = get(KEYS[1], 'e', 'o')
redis.call('DEL', KEYS[1])
redis.pcall('ZREM', KEYS[2], ARGV[1])
if ARGV[2] ~= '' then forget(ARGV[3], childrenOf(known[1]), ARGV[2]) end
return known[2]`

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
