import { LRUCache } from 'lru-cache'
import type { Changes } from '../store/index-store.ts'

/**
 * What memory holds of the stores. A value is good as long as nobody can have changed what it was read from without our
 * hearing of it; where nobody else writes, that is for ever.
 */
export interface Remembered<V extends object> {
  /** Undefined when it is not held, or may be old. */
  good(name: string): V | undefined
  /** No news comes: whatever is held may be old. */
  isBlind(): boolean
  /** Held, however old. */
  peek(name: string): V | undefined
  /** As known by now, or at the time of `epoch`. Gives whether it is held and good, without looking it up. */
  set(name: string, value: V, ...epoch: [Epoch] | []): () => boolean
  /** Runs a reading; `epoch` is that of its beginning, unless the news was that the value is another meanwhile. */
  reading<T>(name: string, read: () => Promise<T>): Promise<Read<T>>
  /** The same, begun once for all who come within a moment, unless the news comes in between. */
  readingOnce<T>(name: string, read: () => Promise<T>): Promise<Read<T>>
  /** The news: what is held is old, and what is being read may be. */
  outdate(name: string): void
  /** The same, and it is not held any more. */
  forget(name: string): void
}

export type Epoch = number | undefined

export interface Read<T> {
  readonly value: T
  readonly epoch: Epoch
}

/** One that was begun so long ago is shared no more: what another replica wrote since counts, also where no news comes. */
const sharedMs = 250

interface Shared {
  readonly result: Promise<Read<unknown>>
  readonly epoch: Epoch
  readonly begun: number
}

interface Held<V> {
  readonly value: V
  /** Undefined when it is old or not held any more. */
  epoch: Epoch
}

export function createRemembered<V extends object>({
  max,
  changes,
}: {
  max: number
  changes: Changes | undefined
}): Remembered<V> {
  const values = new LRUCache<string, Held<V>>({ max, dispose: markOld })
  const readings = new Map<string, Set<{ outdated: boolean }>>()
  const shared = new Map<string, Shared>()
  const now = (): Epoch => (changes ? changes.epoch() : 0)

  function isGood({ epoch }: Held<V>): boolean {
    return epoch !== undefined && epoch === now()
  }

  function outdate(name: string): void {
    for (const reading of readings.get(name) ?? []) reading.outdated = true
    shared.delete(name)
    const held = values.peek(name)
    if (held) markOld(held)
  }

  async function reading<T>(name: string, read: () => Promise<T>): Promise<Read<T>> {
    const own = { outdated: false }
    const others = readings.get(name) ?? new Set()
    readings.set(name, others.add(own))
    const epoch = now()
    try {
      const value = await read()
      return { value, epoch: own.outdated ? undefined : epoch }
    } finally {
      others.delete(own)
      if (others.size === 0) readings.delete(name)
    }
  }

  return {
    isBlind: () => now() === undefined,
    outdate,
    forget(name) {
      outdate(name)
      values.delete(name)
    },
    good(name) {
      const held = values.get(name)
      return held && isGood(held) ? held.value : undefined
    },
    peek: (name) => values.peek(name)?.value,
    set(name, value, ...given) {
      const held = { value, epoch: given.length > 0 ? given[0] : now() }
      values.set(name, held)
      return () => isGood(held)
    },
    reading,
    readingOnce<T>(name: string, read: () => Promise<T>) {
      const known = shared.get(name)
      if (known && known.epoch === now() && performance.now() - known.begun < sharedMs)
        return known.result as Promise<Read<T>>
      const result = reading(name, read)
      const mine = { result, epoch: now(), begun: performance.now() }
      shared.set(name, mine)
      const end = () => void (shared.get(name) === mine && shared.delete(name))
      result.then(end, end)
      return result
    },
  }
}

function markOld(held: Held<unknown>): void {
  held.epoch = undefined
}
