import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import type { UpstreamRoute } from '../routes.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { createBackoff } from './backoff.ts'

/** What is remembered of each upstream's failures: when it may be asked again, and by how many at a time. */
export interface Health {
  /** Until when a question that the cache can answer too should not be asked, on the monotonic clock; 0 for now. */
  revalidateAt(upstream: UpstreamRoute): number
  /**
   * Sends one request and learns from its outcome. Throws UpstreamError unasked where the upstream's own `Retry-After`
   * has not passed. While the breaker is open one request at a time goes out as the probe; the others share its failure,
   * or go out themselves once it succeeds.
   */
  run<T>(upstream: UpstreamRoute, send: () => Promise<T>): Promise<T>
  /** What another replica met with: how long the upstream said that it is to be left alone holds for all. */
  heard(upstream: UpstreamRoute, error: UpstreamError): void
}

const longestRetryAfterSeconds = 60
const failuresThatOpen = 5
/** Routes come and go: what is known of the ones asked longest ago is forgotten. */
const maxUpstreams = 10_000

interface State {
  failures: number
  refusedUntil: number
  refusal: UpstreamError | undefined
  /** Settles with the failure of the probe that is out, or with undefined when it succeeded. */
  probe: Promise<UpstreamError | undefined> | undefined
}

/** `now` is a monotonic clock in milliseconds. */
export function createHealth({ now, observer }: { now: () => number; observer: Observer }): Health {
  const states = new LRUCache<string, State>({ max: maxUpstreams })
  const backoff = createBackoff(now)

  function stateOf(upstream: UpstreamRoute): State {
    const known = states.get(upstream.id)
    if (known) return known
    const state = { failures: 0, refusedUntil: 0, refusal: undefined, probe: undefined }
    states.set(upstream.id, state)
    return state
  }

  function succeeded(upstream: UpstreamRoute, state: State): void {
    if (isOpen(state)) observer.breaker(nameOf(upstream), 'closed')
    state.failures = 0
    backoff.succeeded(upstream.id)
  }

  function failed(upstream: UpstreamRoute, state: State, error: UpstreamError): void {
    if (error.kind === 'blocked') return
    state.failures++
    if (state.failures === failuresThatOpen) observer.breaker(nameOf(upstream), 'open')
    const refusedMs = 1000 * Math.min(error.retryAfterSeconds ?? 0, longestRetryAfterSeconds)
    backoff.failed(upstream.id, refusedMs)
    if (refusedMs > 0) {
      state.refusedUntil = now() + refusedMs
      state.refusal = error
    }
  }

  async function tracked<T>(upstream: UpstreamRoute, state: State, send: () => Promise<T>): Promise<T> {
    try {
      const result = await send()
      succeeded(upstream, state)
      return result
    } catch (error) {
      if (error instanceof UpstreamError) failed(upstream, state, error)
      throw error
    }
  }

  async function probing<T>(upstream: UpstreamRoute, state: State, send: () => Promise<T>): Promise<T> {
    observer.breaker(nameOf(upstream), 'half-open')
    const answer = tracked(upstream, state, send)
    const probe = answer.then(
      () => undefined,
      (error: unknown) => (error instanceof UpstreamError ? error : undefined),
    )
    state.probe = probe
    await probe
    state.probe = undefined
    if (isOpen(state)) observer.breaker(nameOf(upstream), 'open')
    return answer
  }

  return {
    revalidateAt: (upstream) => backoff.until(upstream.id),

    async run(upstream, send) {
      const state = stateOf(upstream)
      if (now() < state.refusedUntil) throw stillRefused(upstream, state, now())
      while (isOpen(state) && state.probe) {
        const failure = await state.probe
        if (failure) throw failure
      }
      return isOpen(state) ? probing(upstream, state, send) : tracked(upstream, state, send)
    },

    heard(upstream, error) {
      // without a status it was not asked: what replicas kept telling each other would never end
      if (error.status === undefined || error.retryAfterSeconds === undefined) return
      failed(upstream, stateOf(upstream), error)
    },
  }
}

function isOpen({ failures }: State): boolean {
  return failures >= failuresThatOpen
}

function stillRefused(upstream: UpstreamRoute, { refusal, refusedUntil }: State, now: number): UpstreamError {
  return new UpstreamError(refusal?.kind ?? 'rate-limited', `${nameOf(upstream)} asked not to be asked yet`, {
    retryAfterSeconds: Math.ceil((refusedUntil - now) / 1000),
    cause: refusal,
  })
}

export function nameOf({ namespace, name }: { readonly namespace: string; readonly name: string }): string {
  return `${namespace}/${name}`
}
