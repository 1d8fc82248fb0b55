import type { Observer } from '../observer.ts'

/** Work that outlives the answer it belongs to: making durable what memory already serves. */
export interface Commits {
  add(operation: string, work: () => Promise<void>): void
  /** Resolves when none is left. */
  settled(): Promise<void>
}

export function createCommits(observer: Observer): Commits {
  const running = new Set<Promise<void>>()
  return {
    add(operation, work) {
      const commit = work()
        .catch((error: unknown) => observer.storeFailure(operation, error))
        .finally(() => running.delete(commit))
      running.add(commit)
    },
    async settled() {
      while (running.size > 0) await Promise.all(running)
    },
  }
}
