export type KeyedLock = <T>(key: string, work: () => Promise<T>) => Promise<T>

/** Runs the works of one key in turn while other keys go on. Remembers nothing of a key that is idle. */
export function createKeyedLock(): KeyedLock {
  const last = new Map<string, Promise<unknown>>()

  return async (key, work) => {
    const before = last.get(key)
    const run = before ? before.then(work, work) : work()
    last.set(key, run)
    try {
      return await run
    } finally {
      if (last.get(key) === run) last.delete(key)
    }
  }
}
