/** Runs at most one `load` a key at a time; callers that come meanwhile share its result, errors included. */
export function createSingleFlight<T>(): (key: string, load: () => Promise<T>) => Promise<T> {
  const loading = new Map<string, Promise<T>>()
  return (key, load) => {
    const running = loading.get(key)
    if (running) return running
    const started = load().finally(() => loading.delete(key))
    loading.set(key, started)
    return started
  }
}

/** Injective: no two lists of parts give the same key, whatever characters are in them. */
export function keyOf(...parts: readonly string[]): string {
  return JSON.stringify(parts)
}
