/**
 * What must not be torn apart runs within Redis. Each script stays within the keys of one upstream and repository, which
 * share a slot of a cluster. A key that holds something else than we put there is taken for absent, and replaced.
 *
 * An entry is a hash: `v` the version of this layout, `e` the entry as its document has it, `u` and `n` its last use and its
 * downloads. A tag also has `d`, its digest, `w` and `c`, when it was written and checked; a link `o`, its origin.
 */
const helpers = `
local function put(key, ...)
  if type(redis.pcall('HSET', key, ...)) == 'table' then
    redis.call('DEL', key)
    redis.call('HSET', key, ...)
  end
end
local function get(key, ...)
  local found = redis.pcall('HMGET', key, ...)
  if found.err then return {} end
  return found
end
local function enlist(key, member)
  if type(redis.pcall('ZADD', key, 0, member)) == 'table' then
    redis.call('DEL', key)
    redis.call('ZADD', key, 0, member)
  end
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
enlist(KEYS[1], ARGV[1])
return 1`

/** KEYS: hash. ARGV: field, value. */
export const putFieldScript = `${helpers}
put(KEYS[1], ARGV[1], ARGV[2])
return 1`

/** KEYS: entry, list. ARGV: version, entry, digest, writtenAt, checkedAt, member. */
export const putTagScript = `${helpers}
local known = get(KEYS[1], 'v', 'w', 'c')
if known[1] == ARGV[1] then
  local written, checked = tonumber(known[2] or ''), tonumber(known[3] or '')
  local newWritten, newChecked = tonumber(ARGV[4]), tonumber(ARGV[5])
  if written and checked and
    (written > newWritten or (written == newWritten and checked > newChecked)) then return 0 end
end
put(KEYS[1], 'v', ARGV[1], 'e', ARGV[2], 'd', ARGV[3], 'w', ARGV[4], 'c', ARGV[5])
enlist(KEYS[2], ARGV[6])
return 1`

/** KEYS: entry. ARGV: digest, checkedAt. */
export const touchTagScript = `${helpers}
if get(KEYS[1], 'd')[1] == ARGV[1] then put(KEYS[1], 'c', ARGV[2]) end
return 1`

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
put(KEYS[1], 'v', ARGV[1], 'e', ARGV[2], 'o', ARGV[3])
enlist(KEYS[2], ARGV[4])
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
put(KEYS[1], 'u', string.format('%.0f', used), 'n', string.format('%.0f', downloads))
return 1`

/** KEYS: entry. ARGV: usedAt, downloads. */
export const useScript = `${helpers}
local known = get(KEYS[1], 'e', 'u', 'n')
if not known[1] then return 0 end
local used = math.max(tonumber(known[2] or '') or 0, tonumber(ARGV[1]))
local downloads = (tonumber(known[3] or '') or 0) + tonumber(ARGV[2])
put(KEYS[1], 'u', string.format('%.0f', used), 'n', string.format('%.0f', downloads))
return 1`
