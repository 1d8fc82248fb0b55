import type { Readable } from 'node:stream'
import { StoreTimeoutError } from './breaker.ts'

/** The bytes of an object on their way. Read to its end or destroyed, or its socket is lost. */
export interface ObjectBody {
  /** The next piece; undefined at the end. Throws where it stalls, or ends before its length. One call at a time. */
  next(): Promise<Uint8Array | undefined>
  /** Safe to repeat. */
  destroy(): void
}

/** What all waiting for a body of no length may come to; a second more for each of these bytes. */
const leastTotalMs = 30_000
const leastBytesPerSecond = 256 * 1024
/** A body nobody begins to read. */
const unreadMs = 10_000

/**
 * The SDK bounds no body. Only the time that is spent waiting for S3 counts, however slowly the reader reads; one that never
 * begins to is not waited for either.
 */
export function withDeadlines(
  stream: Readable,
  { length, idleMs }: { readonly length: number; readonly idleMs: number },
): ObjectBody {
  const totalMs = leastTotalMs + (length / leastBytesPerSecond) * 1000
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
  let waitedMs = 0
  let received = 0
  const unread = setTimeout(() => stream.destroy(), unreadMs)
  unread.unref()
  stream.on('error', () => {}) // told by `next`; a stream nobody reads must not end the process

  return {
    async next() {
      clearTimeout(unread)
      const startedAt = performance.now()
      const left = Math.min(idleMs, totalMs - waitedMs)
      let waiting = true
      const giveUp = () => {
        if (waiting) stream.destroy(new StoreTimeoutError('S3 sends no more'))
      }
      // not for what had come by then and we were too busy to read
      const timer = setTimeout(() => setImmediate(() => setImmediate(giveUp)), left)
      try {
        const { value, done } = await chunks.next()
        if (!done) {
          received += value.length
          return value
        }
        if (received !== length) throw new Error(`S3 sent ${received} bytes of ${length}`)
        return undefined
      } finally {
        waiting = false
        clearTimeout(timer)
        waitedMs += performance.now() - startedAt
      }
    },
    destroy() {
      clearTimeout(unread)
      stream.destroy()
    },
  }
}
