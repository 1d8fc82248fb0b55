import { UpstreamError } from './errors.ts'

/** A limit of time joined with a caller's signal; `signal` aborts with an UpstreamError either way. */
export interface Deadline {
  readonly signal: AbortSignal
  remainingMs(): number
  /** Leaves the limit of time aside if, when it is over, this is so; then only the caller's signal counts. */
  metIf(isMet: () => boolean): void
  /** Nothing is to be ended any more. Must be called in the end. */
  release(): void
}

/** `what` is the subject of the message: `<what> took longer than …`. */
export function createDeadline(what: string, ms: number, caller: AbortSignal | undefined): Deadline {
  const controller = new AbortController()
  const until = performance.now() + ms
  let met = () => false
  const end = () => {
    if (!met()) controller.abort(new UpstreamError('timeout', `${what} took longer than ${ms} ms`))
  }
  const timer = setTimeout(end, ms).unref()
  const giveUp = () => controller.abort(abandoned(what, caller?.reason))
  const release = () => {
    clearTimeout(timer)
    caller?.removeEventListener('abort', giveUp)
  }

  if (caller?.aborted) giveUp()
  else caller?.addEventListener('abort', giveUp, { once: true })
  return {
    signal: controller.signal,
    remainingMs: () => until - performance.now(),
    metIf(isMet) {
      met = isMet
    },
    release,
  }
}

/** Settles with the work, or fails as soon as the signal aborts; the work itself goes on for others. */
export async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  let stop = () => {}
  const aborted = new Promise<never>((_resolve, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function abandoned(what: string, reason: unknown): UpstreamError {
  const timedOut = (reason as { name?: unknown } | undefined)?.name === 'TimeoutError'
  return timedOut
    ? new UpstreamError('timeout', `${what} took longer than it was given`)
    : new UpstreamError('unavailable', `${what} was given up by whoever asked`)
}
