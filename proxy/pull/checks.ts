import type { Eligible } from '../route-table.ts'
import type { TagKey } from '../store/index-store.ts'
import type { Backoff } from './backoff.ts'
import type { Health } from './health.ts'
import { keyOf } from './single-flight.ts'
import { refusalOf } from './trouble.ts'
import { within } from './within.ts'

/** What a revalidation may take in all; a cached answer then goes out whatever is still under way. */
export const revalidationMs = 2_500

export const unconfirmed = 'upstream could not be asked; serving cached content'

/** One upstream of a pull by tag, or of a list of referrers. */
export interface TagPlace extends Eligible {
  readonly key: TagKey
}

/** When, and for how long, an upstream is asked about what is cached and stale. */
export interface Checks {
  /** Until when the upstream is not asked about this tag, on the monotonic clock; 0 when it may be. */
  unaskableUntil(place: TagPlace): number
  /** The same of the upstream, whatever became of the tag. */
  upstreamUnaskableUntil(place: TagPlace): number
  /** Leaves the tag alone for a while when this throws. */
  learning<T>(place: TagPlace, check: () => Promise<T>): Promise<T>
  /** Undefined, and left alone for a while, when it takes longer than `revalidationMs`; it then goes on unwatched. */
  inTime<T>(place: TagPlace, check: Promise<T>): Promise<T | undefined>
}

export function createChecks({
  health,
  backoff,
}: {
  health: Health
  /** Of single tags: an upstream that is well may have lost one. On the monotonic clock. */
  backoff: Backoff
}): Checks {
  function upstreamUnaskableUntil({ upstream }: TagPlace): number {
    return refusalOf(upstream) ? Number.POSITIVE_INFINITY : health.revalidateAt(upstream)
  }

  return {
    upstreamUnaskableUntil,
    unaskableUntil: (place) => Math.max(upstreamUnaskableUntil(place), backoff.until(nameOf(place))),

    async learning(place, check) {
      const name = nameOf(place)
      try {
        const checked = await check()
        backoff.succeeded(name)
        return checked
      } catch (error) {
        backoff.failed(name)
        throw error
      }
    },

    inTime<T>(place: TagPlace, check: Promise<T>) {
      return within<T | undefined>(revalidationMs, check, () => {
        backoff.failed(nameOf(place))
        return undefined
      })
    },
  }
}

export function nameOf({ key: { upstreamId, repository, tag } }: TagPlace): string {
  return keyOf(upstreamId, repository, tag)
}
