import { LRUCache } from 'lru-cache'
import type { Changes } from '../store/index-store.ts'

/**
 * What memory holds of the stores. A value is good as long as nobody can have changed what it was read from without our
 * hearing of it; where nobody else writes, that is for ever.
 */
export interface Remembered<V extends object> {
  /** Undefined when it is not held, or may be old. */
  good(name: string): V | undefined
  isGood(value: V): boolean
  /** No news comes: whatever is held may be old. */
  isBlind(): boolean
  /** Held, however old. */
  peek(name: string): V | undefined
  /** As known by now, or at the time of `epoch`. */
  set(name: string, value: V, ...epoch: [Epoch] | []): void
  /** Runs a reading; `epoch` is that of its beginning, unless the news was that the value is another meanwhile. */
  reading<T>(name: string, read: () => Promise<T>): Promise<{ value: T; epoch: Epoch }>
  /** The news: what is held is old, and what is being read may be. */
  outdate(name: string): void
  /** The same, and it is not held any more. */
  forget(name: string): void
}

export type Epoch = number | undefined

export function createRemembered<V extends object>({
  max,
  changes,
  dispose = () => {},
}: {
  max: number
  changes: Changes | undefined
  dispose?: (value: V) => void
}): Remembered<V> {
  const values = new LRUCache<string, V>({ max, dispose })
  const epochs = new WeakMap<V, Epoch>()
  const readings = new Map<string, Set<{ outdated: boolean }>>()
  const now = (): Epoch => (changes ? changes.epoch() : 0)

  function isGood(value: V): boolean {
    const epoch = epochs.get(value)
    return epoch !== undefined && epoch === now()
  }

  function outdate(name: string): void {
    for (const reading of readings.get(name) ?? []) reading.outdated = true
    const value = values.peek(name)
    if (value) epochs.set(value, undefined)
  }

  return {
    isGood,
    isBlind: () => now() === undefined,
    outdate,
    forget(name) {
      outdate(name)
      values.delete(name)
    },
    good(name) {
      const value = values.get(name)
      return value && isGood(value) ? value : undefined
    },
    peek: (name) => values.peek(name),
    set(name, value, ...given) {
      epochs.set(value, given.length > 0 ? given[0] : now())
      values.set(name, value)
    },
    async reading(name, read) {
      const reading = { outdated: false }
      const others = readings.get(name) ?? new Set()
      readings.set(name, others.add(reading))
      const epoch = now()
      try {
        const value = await read()
        return { value, epoch: reading.outdated ? undefined : epoch }
      } finally {
        others.delete(reading)
        if (others.size === 0) readings.delete(name)
      }
    },
  }
}
