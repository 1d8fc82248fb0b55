import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ProxyState } from '../routes.ts'

export interface StateBoard {
  /** Something may be another now. */
  changed(): void
  /** The state as it is; waits up to so long for another version than `after`, and gives undefined when there is none. */
  read(after: string | undefined, waitMs: number): Promise<ProxyState | undefined>
}

/** However much changes, so much is gathered before those who wait are told. */
const gatherMs = 100
const mostWaiting = 100

/** What `GET /internal/v1/state` answers with. */
export function createStateBoard(
  content: () => Omit<ProxyState, 'version'>,
  { gather = gatherMs }: { readonly gather?: number } = {},
): StateBoard {
  let current: ProxyState | undefined
  let change = Promise.withResolvers<void>()
  let waiting = 0

  function latest(): ProxyState {
    if (current !== undefined) return current
    const said = content()
    const version = createHash('sha256').update(JSON.stringify(said)).digest('hex').slice(0, 32)
    current = { version, ...said }
    return current
  }

  async function another(after: string, waitMs: number): Promise<ProxyState | undefined> {
    const ending = new AbortController()
    const over = sleep(waitMs, 'over' as const, { signal: ending.signal }).catch(() => 'over' as const)
    try {
      while (latest().version === after) {
        if ((await Promise.race([over, change.promise])) === 'over') return undefined
        await sleep(gather)
      }
      return latest()
    } finally {
      ending.abort()
    }
  }

  return {
    changed() {
      current = undefined
      change.resolve()
      change = Promise.withResolvers()
    },
    async read(after, waitMs) {
      if (after === undefined || latest().version !== after) return latest()
      if (waitMs <= 0 || waiting >= mostWaiting) return undefined
      waiting++
      try {
        return await another(after, waitMs)
      } finally {
        waiting--
      }
    },
  }
}
