import { type Backoff, createBackoff } from './backoff.ts'

export interface WorkQueueOptions {
  readonly random?: () => number
  readonly now?: () => number
  /** Bounds of the wait after failures of a key. */
  readonly baseMs?: number
  readonly maxMs?: number
  readonly observe?: QueueObserver
}

export interface QueueObserver {
  added(): void
  /** A key left the queue after this long. */
  taken(waitedMs: number): void
  /** Its work is over, however it ended. */
  done(workedMs: number): void
  retried(): void
}

/**
 * Keys of what is to be looked at. A key is in it once, however often it is added; while it is worked on it is not
 * handed out again, but goes back in at the end where it was added meanwhile.
 */
export interface WorkQueue {
  add(key: string): void
  /** After a failure of this key: later each time, until `forget`. */
  retry(key: string, atLeastMs?: number): void
  forget(key: string): void
  addAfter(key: string, ms: number): void
  /** Undefined once the queue is closed and empty. Every key that was handed out must be given back with `done`. */
  take(): Promise<string | undefined>
  done(key: string): void
  /** Nothing more is handed out. */
  close(): void
  readonly depth: number
  /** How long the keys that are worked on now have been, the longest of them, in milliseconds. */
  unfinished(): { readonly totalMs: number; readonly longestMs: number }
}

const silent: QueueObserver = { added() {}, taken() {}, done() {}, retried() {} }

export function createWorkQueue({
  random = Math.random,
  now = () => performance.now(),
  baseMs = 100,
  maxMs = 60_000,
  observe = silent,
}: WorkQueueOptions = {}): WorkQueue {
  /** Waiting, with the time they were added; in order. */
  const waiting = new Map<string, number>()
  const working = new Map<string, number>()
  /** Added while they were worked on. */
  const again = new Set<string>()
  const timers = new Map<string, { readonly timer: NodeJS.Timeout; readonly at: number }>()
  const failures = new Map<string, Backoff>()
  const takers: ((key: string | undefined) => void)[] = []
  let isClosed = false

  function add(key: string): void {
    if (isClosed || waiting.has(key) || again.has(key)) return
    cancelTimer(key)
    observe.added()
    if (working.has(key)) again.add(key)
    else push(key)
  }

  function push(key: string): void {
    waiting.set(key, now())
    const taker = takers.shift()
    if (taker) taker(shift())
  }

  function shift(): string | undefined {
    const [first] = waiting
    if (first === undefined) return undefined
    const [key, since] = first
    waiting.delete(key)
    working.set(key, now())
    observe.taken(now() - since)
    return key
  }

  function addAfter(key: string, ms: number): void {
    if (isClosed) return
    if (ms <= 0) {
      add(key)
      return
    }
    const at = now() + ms
    const earlier = timers.get(key)
    if (earlier !== undefined && earlier.at <= at) return
    cancelTimer(key)
    const fire = () => {
      timers.delete(key)
      add(key)
    }
    timers.set(key, { timer: setTimeout(fire, ms).unref(), at })
  }

  function cancelTimer(key: string): void {
    clearTimeout(timers.get(key)?.timer)
    timers.delete(key)
  }

  return {
    add,
    addAfter,
    retry(key, atLeastMs = 0) {
      const backoff = failures.get(key) ?? createBackoff({ baseMs, maxMs, random })
      failures.set(key, backoff)
      observe.retried()
      addAfter(key, Math.max(backoff.nextMs(), atLeastMs))
    },
    forget(key) {
      failures.delete(key)
    },
    async take() {
      if (isClosed) return undefined
      return shift() ?? new Promise((resolve) => takers.push(resolve))
    },
    done(key) {
      const since = working.get(key)
      if (since === undefined) return
      working.delete(key)
      observe.done(now() - since)
      if (again.delete(key) && !isClosed) push(key)
    },
    close() {
      isClosed = true
      for (const key of [...timers.keys()]) cancelTimer(key)
      waiting.clear()
      for (const taker of takers.splice(0)) taker(undefined)
    },
    get depth() {
      return waiting.size
    },
    unfinished() {
      const times = [...working.values()].map((since) => now() - since)
      return { totalMs: times.reduce((sum, each) => sum + each, 0), longestMs: Math.max(0, ...times) }
    },
  }
}
