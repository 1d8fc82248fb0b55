import { setTimeout as sleep } from 'node:timers/promises'
import type { Deadline } from './deadline.ts'
import type { Followed } from './follow.ts'
import { isPassing } from './judge.ts'
import { discard } from './send.ts'
import { isWorthAnotherTry } from './transport-error.ts'

/** How many more times something may be tried: one for a request and all that belongs to it. */
export interface Retry {
  left: number
}

const shortestPauseMs = 20
const longestPauseMs = 120

/**
 * Tries again, a moment later, what may well succeed the second time: a connection that broke before the head of an
 * answer, a 5xx, an address that expired behind a redirect. Only while there is time for it.
 */
export async function persist(
  run: () => Promise<Followed>,
  { retry, deadline, random }: { retry: Retry; deadline: Deadline; random: () => number },
): Promise<Followed> {
  for (;;) {
    const pauseMs = shortestPauseMs + random() * (longestPauseMs - shortestPauseMs)
    const mayRetry = () => retry.left > 0 && deadline.remainingMs() > 2 * pauseMs
    try {
      const followed = await run()
      if (!isPassing(followed) || !mayRetry()) return followed
      discard(followed.exchange.body)
    } catch (error) {
      if (!isWorthAnotherTry(error) || !mayRetry()) throw error
    }
    retry.left--
    await pause(pauseMs, deadline)
  }
}

async function pause(ms: number, { signal }: Deadline): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {})
  signal.throwIfAborted()
}
