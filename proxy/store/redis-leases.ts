import { type HeldLease, type Lease, type Leases, leaseTtlMs } from './leases.ts'
import type { RedisConnection } from './redis-connection.ts'

/** Each of its own slot of a cluster: nothing is atomic across leases. */
const keyOf = (key: string) => `hw1:f:${key}`

/** KEYS: lease. ARGV: token, lease, milliseconds, the token it may replace. What is no lease of ours is replaced. */
const claimScript = `
local found = redis.pcall('HMGET', KEYS[1], 't', 'l')
if found.err then found = {} end
if found[1] and found[1] ~= ARGV[1] and found[1] ~= ARGV[4] then
  return {0, found[2] or '', redis.call('PTTL', KEYS[1])}
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 't', ARGV[1], 'l', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, found[2] or '', 0}`

/** KEYS: lease. ARGV: token. */
const releaseScript = `
local found = redis.pcall('HMGET', KEYS[1], 't')
if not found.err and found[1] == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1`

/** KEYS: lease. */
const lookScript = `
local found = redis.pcall('HMGET', KEYS[1], 't', 'l')
if found.err or not found[1] then return {0, '', 0} end
return {1, found[2] or '', redis.call('PTTL', KEYS[1])}`

/** Leases in Redis, for as many replicas as there are. What does not parse is as good as nobody's. */
export function createRedisLeases({ redis }: { redis: Pick<RedisConnection, 'send'> }): Leases {
  const run = async (script: string, key: string, ...args: readonly (string | number)[]) => {
    const reply = await redis.send('EVAL', script, 1, keyOf(key), ...args)
    const [flag, text, leftMs] = Array.isArray(reply) ? (reply as unknown[]) : []
    return { flag: flag === 1, lease: parseLease(text), leftMs: typeof leftMs === 'number' ? leftMs : 0 }
  }
  const claim: Leases['claim'] = async (key, lease, instead = '') => {
    const args = [lease.token, JSON.stringify(lease), leaseTtlMs]
    for (let attempt = 1; attempt <= 2; attempt++) {
      const { flag, lease: found, leftMs } = await run(claimScript, key, ...args, instead)
      if (flag) return { isOurs: true, before: found }
      if (found) return { isOurs: false, lease: found, leftMs }
      await redis.send('DEL', keyOf(key))
    }
    throw new Error('Redis answers the claim of a lease with what is none')
  }

  return {
    claim,
    async renew(key, lease) {
      const claimed = await claim(key, lease)
      if (!claimed.isOurs) return 'anothers'
      return claimed.before ? 'ours' : 'again'
    },
    async release(key, token) {
      await redis.send('EVAL', releaseScript, 1, keyOf(key), token)
    },
    async look(key): Promise<HeldLease | undefined> {
      const { flag, lease, leftMs } = await run(lookScript, key)
      return flag && lease ? { lease, leftMs } : undefined
    },
  }
}

function parseLease(text: unknown): Lease | undefined {
  if (typeof text !== 'string' || text === '') return undefined
  try {
    const { token, url, uploadId, word } = JSON.parse(text) as Record<string, unknown>
    if (typeof token !== 'string' || typeof url !== 'string') return undefined
    return {
      ...{ token, url },
      uploadId: typeof uploadId === 'string' ? uploadId : undefined,
      ...(typeof word === 'string' && { word }),
    }
  } catch {
    return undefined
  }
}
