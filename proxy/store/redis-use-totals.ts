import type { Use, UseKey } from './index-store.ts'
import { type RedisConnection, RedisReplyError } from './redis-connection.ts'
import { usedKeyOf } from './redis-keys.ts'
import { raiseUseScript } from './redis-scripts.ts'
import type { UseTotals } from './use-snapshots.ts'

const pageSize = 500

/** Uses as the index in Redis has them, of all replicas together. */
export function createRedisUseTotals({ redis }: { redis: Pick<RedisConnection, 'send'> }): UseTotals {
  async function total(key: UseKey): Promise<Use[]> {
    const reply = await redis.send('HMGET', usedKeyOf(key), 'u', 'n').catch(orNothing)
    const [used, downloads] = Array.isArray(reply) ? (reply as (string | null)[]) : []
    const usedAt = Number(used ?? Number.NaN)
    return Number.isFinite(usedAt) ? [{ ...key, usedAt, downloads: Number(downloads) || 0 }] : []
  }

  return {
    async read(keys) {
      const found: Use[] = []
      for (let at = 0; at < keys.length; at += pageSize) {
        const page = await Promise.all(keys.slice(at, at + pageSize).map(total))
        found.push(...page.flat())
      }
      return found
    },

    async raise(uses) {
      for (let at = 0; at < uses.length; at += pageSize) {
        const page = uses.slice(at, at + pageSize)
        await Promise.all(
          page.map((use) => redis.send('EVAL', raiseUseScript, 1, usedKeyOf(use), use.usedAt, use.downloads)),
        )
      }
    },
  }
}

/** A key of another type is none of ours. */
function orNothing(error: unknown): undefined {
  if (!(error instanceof RedisReplyError && error.code === 'WRONGTYPE')) throw error
}
