import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, toApiError } from './api-error.ts'

const maxAttempts = 4
const maxWaitSeconds = 10

/**
 * One request, repeated only where the server asks for it: 429 and 503 with Retry-After. Everything else, a conflict
 * included, is for the caller, who knows whether the world has changed. Rejects with ApiError. Once the signal is aborted
 * nothing is repeated.
 */
export async function call<T>(request: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request()
    } catch (caught) {
      const error = toApiError(caught)
      const waitSeconds = waitSecondsOf(error)
      if (waitSeconds > maxWaitSeconds || attempt >= maxAttempts) throw error
      await sleep(waitSeconds * 1000, undefined, signal ? { signal } : {}).catch(() => {})
      if (signal?.aborted) throw error
    }
  }
}

/** As the server asks for it, and without an end where it does not. */
function waitSecondsOf(error: unknown): number {
  if (!(error instanceof ApiError)) return Infinity
  const { status = 0, retryAfterSeconds = Infinity } = error
  return status === 429 || status >= 500 ? retryAfterSeconds : Infinity
}
