export interface Backoff {
  /** How long to wait now, longer with every call. */
  nextMs(): number
  reset(): void
}

/** Doubles to a maximum; the half of each wait is chance, so that many who failed together do not return together. */
export function createBackoff({
  baseMs,
  maxMs,
  random,
}: {
  readonly baseMs: number
  readonly maxMs: number
  readonly random: () => number
}): Backoff {
  let failures = 0
  return {
    nextMs() {
      const wait = Math.min(maxMs, baseMs * 2 ** Math.min(failures, 30))
      failures += 1
      return wait * (0.5 + random() / 2)
    },
    reset() {
      failures = 0
    },
  }
}
