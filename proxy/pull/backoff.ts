import { LRUCache } from 'lru-cache'

/**
 * Says when something that failed may be tried again: after 1 s, doubling to 30 s, until it succeeds. What fails while it
 * should not have been tried failed together with what failed before, or was asked for all the same: it doubles nothing.
 */
export interface Backoff {
  /** On the clock it was made with; 0 when it may be tried now. */
  until(key: string): number
  failed(key: string, atLeastMs?: number): void
  succeeded(key: string): void
}

const firstDelayMs = 1_000
const longestDelayMs = 30_000
const maxKeys = 20_000

/** `now` is a monotonic clock in milliseconds. */
export function createBackoff(now: () => number): Backoff {
  const failures = new LRUCache<string, { count: number; until: number }>({ max: maxKeys })
  return {
    until(key) {
      const until = failures.get(key)?.until ?? 0
      return until > now() ? until : 0
    },
    failed(key, atLeastMs = 0) {
      const before = failures.get(key) ?? { count: 0, until: 0 }
      const count = before.until > now() ? before.count : before.count + 1
      const delayMs = count === before.count ? 0 : Math.min(firstDelayMs * 2 ** (count - 1), longestDelayMs)
      failures.set(key, { count, until: Math.max(before.until, now() + Math.max(delayMs, atLeastMs)) })
    },
    succeeded(key) {
      failures.delete(key)
    },
  }
}
