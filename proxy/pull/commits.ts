import type { Observer } from '../observer.ts'

/** Work that outlives the answer it belongs to: making durable what memory already serves. */
export interface Commits {
  /** Runs after all work added before for the same place: a tag is never written before the link it needs. */
  add(operation: string, place: string, work: () => Promise<void>): void
  /** Resolves when none is left. */
  settled(): Promise<void>
}

/** A disk this far behind is told of, and what comes meanwhile is served from memory alone. */
const longestQueue = 1_000

export function createCommits(observer: Observer): Commits {
  const last = new Map<string, Promise<void>>()
  let queued = 0
  return {
    add(operation, place, work) {
      if (queued >= longestQueue) {
        observer.storeFailure(operation, new Error('too much waits to be written'))
        return
      }
      queued++
      const commit = (last.get(place) ?? Promise.resolve())
        .then(work)
        .catch((error: unknown) => observer.storeFailure(operation, error))
        .finally(() => {
          queued--
          if (last.get(place) === commit) last.delete(place)
        })
      last.set(place, commit)
    },
    async settled() {
      while (last.size > 0) await Promise.all(last.values())
    },
  }
}
