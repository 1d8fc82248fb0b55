import { isTag } from '../oci/reference.ts'
import { formatPending, parsePending } from './documents.ts'
import type { SharedPending } from './index-store.ts'
import type { RedisConnection } from './redis-connection.ts'
import { pendingKeyOf, pendingOnKeyOf } from './redis-keys.ts'
import { pendingOnScript, putPendingScript } from './redis-scripts.ts'

/** Clients ask for the digest at once after the tag. What is later than this finds the tag at its next check. */
const keptMs = 3_600_000
/** Of one digest; the oldest go. */
const maxTags = 100
const maxWalks = 256

/** What is pending, in Redis. */
export function createRedisPending({ redis }: { redis: Pick<RedisConnection, 'send'> }): SharedPending {
  return {
    async put(key, pending) {
      const keys = [pendingKeyOf(key), pendingOnKeyOf(key, pending.digest)]
      const args = [key.tag, formatPending(pending), keptMs, pending.checkedAt, maxTags, maxWalks]
      await redis.send('EVAL', putPendingScript, keys.length, ...keys, ...args)
    },

    async on(place, digest) {
      const args = [pendingOnKeyOf(place, digest), pendingKeyOf({ ...place, tag: '' })]
      const reply = await redis.send('EVAL', pendingOnScript, 1, ...args)
      if (!Array.isArray(reply)) return []
      return (reply as readonly unknown[]).flatMap((found) => {
        const [tag, text] = Array.isArray(found) ? (found as readonly unknown[]) : []
        const pending = typeof text === 'string' ? parsePending(text) : undefined
        if (typeof tag !== 'string' || !isTag(tag) || pending?.digest !== digest) return []
        const key = { upstreamId: place.upstreamId, repository: place.repository, tag }
        return [{ key, pending }]
      })
    },
  }
}
