import { setTimeout as sleep } from 'node:timers/promises'
import type { Observer } from '../observer.ts'
import { StoreUnavailableError } from '../store/breaker.ts'

/** Work that outlives the answer it belongs to: making durable what memory already serves. */
export interface Commits {
  /**
   * Runs after all work added before for the same place: a tag is never written before the link it needs. Where a store is
   * away for a moment the work is done once more: it must be safe to repeat.
   */
  add(operation: string, place: string, work: () => Promise<void>): void
  /** At once, in no order, and again likewise. Throws what it came to. */
  persist(work: () => Promise<void>): Promise<void>
  /** Resolves when none is left. From then on nothing is done again: the process ends. */
  settled(): Promise<void>
}

/** A disk this far behind is told of, and what comes meanwhile is served from memory alone. */
const longestQueue = 1_000
/** Of which none is kept waiting for a store that is away: it is more than a moment. */
const longestPatience = 100
/** For so long work is begun again. */
const againMs = 10_000
const firstPauseMs = 500

export function createCommits(observer: Observer): Commits {
  const last = new Map<string, Promise<void>>()
  let queued = 0
  let ending = false

  async function persist(work: () => Promise<void>): Promise<void> {
    const until = performance.now() + againMs
    for (let pauseMs = firstPauseMs; ; pauseMs *= 2) {
      try {
        return await work()
      } catch (error) {
        const isOver = ending || queued > longestPatience || performance.now() + pauseMs > until
        if (isOver || !(error instanceof StoreUnavailableError)) throw error
      }
      await sleep(pauseMs)
    }
  }

  return {
    add(operation, place, work) {
      if (queued >= longestQueue) {
        observer.storeFailure(operation, new Error('too much waits to be written'))
        return
      }
      queued++
      const commit = (last.get(place) ?? Promise.resolve())
        .then(() => persist(work))
        .catch((error: unknown) => observer.storeFailure(operation, error))
        .finally(() => {
          queued--
          if (last.get(place) === commit) last.delete(place)
        })
      last.set(place, commit)
    },
    persist,
    async settled() {
      ending = true
      while (last.size > 0) await Promise.all(last.values())
    },
  }
}
