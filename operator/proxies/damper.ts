export interface Damper<T> {
  /** What is so now. It is taken at once when it is urgent, or when nothing was taken for a while. */
  offer(key: string, value: T, options?: { readonly isUrgent?: boolean }): void
  /** What was taken last. */
  read(key: string): T | undefined
  forget(key: string): void
  /** Takes nothing any more. */
  close(): void
}

interface Held<T> {
  taken: T
  offered: T
  takenAt: number
  intervalMs: number
  timer: NodeJS.Timeout | undefined
}

/**
 * Takes of values that change as they like no more than one in a while, and fewer the longer that goes on: what is taken
 * is written. The last one is always taken in the end.
 */
export function createDamper<T>({
  baseMs,
  maxMs,
  now,
  isSame,
  onTaken,
}: {
  readonly baseMs: number
  readonly maxMs: number
  /** A monotonic clock in milliseconds. */
  readonly now: () => number
  isSame(a: T, b: T): boolean
  onTaken(key: string): void
}): Damper<T> {
  const all = new Map<string, Held<T>>()

  function take(key: string, held: Held<T>, isUrgent: boolean): void {
    clearTimeout(held.timer)
    held.timer = undefined
    const isQuiet = now() - held.takenAt > 2 * held.intervalMs
    held.intervalMs = isQuiet || isUrgent ? baseMs : Math.min(maxMs, 2 * held.intervalMs)
    held.taken = held.offered
    held.takenAt = now()
    onTaken(key)
  }

  return {
    offer(key, value, { isUrgent = false } = {}) {
      const held = all.get(key)
      if (held === undefined) {
        const first = { taken: value, offered: value, takenAt: now(), intervalMs: baseMs, timer: undefined }
        all.set(key, first)
        onTaken(key)
        return
      }
      held.offered = value
      if (isSame(held.taken, value)) {
        clearTimeout(held.timer)
        held.timer = undefined
        return
      }
      const waitMs = held.takenAt + held.intervalMs - now()
      if (isUrgent || waitMs <= 0) take(key, held, isUrgent)
      else held.timer ??= setTimeout(() => take(key, held, false), waitMs).unref()
    },
    read: (key) => all.get(key)?.taken,
    forget(key) {
      clearTimeout(all.get(key)?.timer)
      all.delete(key)
    },
    close() {
      for (const { timer } of all.values()) clearTimeout(timer)
    },
  }
}
