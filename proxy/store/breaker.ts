/** A store that is away, or that did not answer in time: whoever asked goes on without it. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError'
}

/** What a store had to answer in time and did not. */
export class StoreTimeoutError extends Error {
  override readonly name = 'StoreTimeoutError'
}

/**
 * Keeps a store that is away from costing more than those a delay who were asking when it went: after that everybody is
 * refused at once, until a probe in the background was answered.
 */
export interface Breaker {
  readonly available: boolean
  /**
   * Runs the work for at most `ms`; `signal` aborts it then. Throws StoreUnavailableError, at once where the store is
   * known to be away; what is no trouble of the store's is thrown as it is, as is what the work throws before it gives a
   * promise, since nothing was asked then.
   */
  run<T>(work: (signal: AbortSignal) => Promise<T>, ms: number): Promise<T>
  /** At once, for who knows that it is away. */
  open(error: unknown): void
  /** Ends the probing. */
  close(): void
}

export interface BreakerOptions {
  /** For messages. */
  readonly name: string
  /** Resolves when the store answers. */
  readonly probe: (signal: AbortSignal) => Promise<unknown>
  readonly probeMs: number
  /** False for errors that say nothing of the store's health. */
  readonly isTrouble: (error: unknown) => boolean
  /** That many in a row open it; one that was not answered in time does alone. */
  readonly failuresToOpen: number
  readonly onChange: (available: boolean, error: unknown) => void
  readonly random?: () => number
}

const firstProbeMs = 100
const lastProbeMs = 1_000

export function createBreaker(options: BreakerOptions): Breaker {
  const { name, probe, probeMs, isTrouble, failuresToOpen, onChange, random = Math.random } = options
  let available = true
  let failures = 0
  let why: unknown
  let timer: NodeJS.Timeout | undefined
  let closed = false

  function failed(error: unknown): void {
    failures += 1
    if (error instanceof StoreTimeoutError || failures >= failuresToOpen) open(error)
  }

  function open(error: unknown): void {
    if (!available) return
    available = false
    why = error
    onChange(false, error)
    probeAfter(firstProbeMs)
  }

  function probeAfter(ms: number): void {
    if (closed) return
    timer = setTimeout(() => void tryAgain(ms), ms * (0.75 + random() / 2))
    timer.unref()
  }

  async function tryAgain(ms: number): Promise<void> {
    try {
      await inTime(probe, probeMs)
    } catch (error) {
      why = error
      return probeAfter(Math.min(lastProbeMs, ms * 2))
    }
    available = true
    failures = 0
    onChange(true, undefined)
  }

  return {
    get available() {
      return available
    },

    async run(work, ms) {
      if (!available) throw new StoreUnavailableError(`${name} is away`, { cause: why })
      let asked = false
      const ask = (signal: AbortSignal) => {
        const answer = work(signal)
        asked = true
        return answer
      }
      try {
        const result = await inTime(ask, ms)
        failures = 0
        return result
      } catch (error) {
        if (!asked || (!(error instanceof StoreTimeoutError) && !isTrouble(error))) throw error
        failed(error)
        throw new StoreUnavailableError(`${name} did not do what it was asked`, { cause: error })
      }
    },

    open,

    close() {
      closed = true
      clearTimeout(timer)
    },
  }
}

/** Throws StoreTimeoutError after `ms`, but not for what had been answered by then and we were too busy to read. */
export async function inTime<T>(work: (signal: AbortSignal) => Promise<T>, ms: number): Promise<T> {
  const aborting = new AbortController()
  const working = work(aborting.signal)
  working.catch(() => {})
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    const giveUp = () => {
      const error = new StoreTimeoutError(`no answer after ${ms} ms`)
      reject(error)
      aborting.abort(error)
    }
    timer = setTimeout(() => setImmediate(() => setImmediate(giveUp)), ms)
  })
  try {
    return await Promise.race([working, late])
  } finally {
    clearTimeout(timer)
  }
}
