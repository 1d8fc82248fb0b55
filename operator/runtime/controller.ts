import { setImmediate } from 'node:timers/promises'
import { isStatus, retryAfterMs, toApiError } from './api-error.ts'
import { createWorkQueue, type QueueObserver, type WorkQueue } from './work-queue.ts'

/** What of a reconcile is told, in the words of controller-runtime's metrics. */
export type ReconcileResult = 'success' | 'error' | 'requeue' | 'requeue_after'

export interface ControllerObserver extends QueueObserver {
  reconciled(result: ReconcileResult, durationMs: number): void
  activeWorkers(count: number): void
}

export interface ControllerOptions {
  /** Brings the world one step to what it should be for this key; may be repeated. */
  reconcile(key: string): Promise<void>
  readonly workers: number
  readonly observe?: ControllerObserver
  readonly random?: () => number
  /** Told of a failure that is worth a line; a conflict is not. */
  onError?(key: string, error: unknown): void
}

export interface Controller {
  readonly queue: WorkQueue
  /** Works until the signal is aborted; resolves when what was under way has ended. */
  run(signal: AbortSignal): Promise<void>
}

/** A conflict passes with whoever else writes: it must not wait the longer the more often they do. */
const conflictMs = 1000

const silent: ControllerObserver = {
  added() {},
  taken() {},
  done() {},
  retried() {},
  reconciled() {},
  activeWorkers() {},
}

export function createController({
  reconcile,
  workers,
  observe = silent,
  random = Math.random,
  onError = () => {},
}: ControllerOptions): Controller {
  const queue = createWorkQueue({ random, observe })
  let active = 0

  async function work(): Promise<void> {
    for (;;) {
      const key = await queue.take()
      if (key === undefined) return
      observe.activeWorkers(++active)
      await attempt(key)
      observe.activeWorkers(--active)
      queue.done(key)
      await setImmediate() // many keys with nothing to write leave no time for the Lease otherwise
    }
  }

  async function attempt(key: string): Promise<void> {
    const begun = performance.now()
    try {
      await reconcile(key)
      queue.forget(key)
      observe.reconciled('success', performance.now() - begun)
    } catch (caught) {
      const error = toApiError(caught)
      const isConflict = isStatus(error, 409)
      if (isConflict) queue.addAfter(key, conflictMs * (1 + random()))
      else fail(key, error)
      observe.reconciled(isConflict ? 'requeue_after' : 'error', performance.now() - begun)
    }
  }

  function fail(key: string, error: unknown): void {
    onError(key, error)
    queue.retry(key, retryAfterMs(error))
  }

  return {
    queue,
    async run(signal) {
      const close = () => queue.close()
      if (signal.aborted) close()
      else signal.addEventListener('abort', close, { once: true })
      await Promise.all(Array.from({ length: workers }, work))
    },
  }
}
