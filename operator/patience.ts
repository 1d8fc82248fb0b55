/** How long what is on its way may take before it is said that it is. */
export const patienceMs = 5_000

/**
 * What changes is on its way to the proxies for a moment. A status that said so would be written twice for every change,
 * and be wrong as soon as it is read; so it is only written once it lasts. Until then the status says which generation it
 * speaks of, and that is not the newest.
 */
export interface Patience {
  /** For how long yet this revision may be on its way, in milliseconds, counted from when that is asked first; 0: it is late. */
  leftMs(key: string, revision: string): number
  /** It has arrived, or is gone. */
  end(key: string): void
}

/** `now` is a monotonic clock in milliseconds. */
export function createPatience(now: () => number, ms: number = patienceMs): Patience {
  const since = new Map<string, { readonly revision: string; readonly at: number }>()

  return {
    leftMs(key, revision) {
      const known = since.get(key)
      if (known?.revision !== revision) since.set(key, { revision, at: now() })
      const at = known?.revision === revision ? known.at : now()
      return Math.max(0, at + ms - now())
    },
    end(key) {
      since.delete(key)
    },
  }
}
