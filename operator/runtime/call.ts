import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, toApiError } from './api-error.ts'

const maxAttempts = 4
const maxWaitSeconds = 10

/**
 * One request, repeated only where the server asks for it: 429 and 503 with Retry-After. Everything else, a conflict
 * included, is for the caller, who knows whether the world has changed. Rejects with ApiError.
 */
export async function call<T>(request: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await request()
    } catch (caught) {
      const error = toApiError(caught)
      const waitSeconds = error instanceof ApiError && isBusy(error) ? error.retryAfterSeconds : undefined
      if (waitSeconds === undefined || waitSeconds > maxWaitSeconds || attempt >= maxAttempts) throw error
      await sleep(waitSeconds * 1000, undefined, signal ? { signal } : {})
    }
  }
}

function isBusy({ status }: ApiError): boolean {
  return status === 429 || (status !== undefined && status >= 500)
}
