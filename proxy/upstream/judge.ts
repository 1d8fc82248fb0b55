import { UpstreamError } from './errors.ts'
import type { Followed } from './follow.ts'
import { single } from './response-headers.ts'
import { parseRetryAfter } from './retry-after.ts'

export type Verdict = 'yes' | 'no'

/** What of a request decides how its answer is read. */
export interface Asked {
  readonly method: 'GET' | 'HEAD'
  readonly rangeStart: number | undefined
  /** Bytes that a registry keeps elsewhere: where it sends us for them it has said yes already. */
  readonly isBlob: boolean
  /** Wall time in milliseconds. */
  readonly now: number
}

/**
 * Reads a final status as a yes, a no, or trouble, which it throws. A no behind a redirect to another origin is the
 * registry's word only for what is not a blob, and only as 404: registries that are fronts of others pass manifests on
 * so, while storage says 403 to an address that expired and 404 to what it lost. 501 to a HEAD says, as 405 does, that
 * there is no HEAD.
 */
export function judge(
  { exchange, url, left }: Followed,
  { method, rangeStart, isBlob, now }: Asked,
): Verdict {
  const { status, headers } = exchange
  const host = url.hostname
  if (status === 200) return 'yes'
  if (status === 206 && rangeStart !== undefined) return 'yes'

  if (status === 501 && method === 'HEAD' && !left) return 'no'

  const retryAfterSeconds = parseRetryAfter(single(headers, 'retry-after'), now)
  if (status === 429) {
    throw new UpstreamError('rate-limited', `${host} asks for patience`, { status, retryAfterSeconds })
  }
  if (status >= 500 && status <= 599) {
    throw new UpstreamError('unavailable', `${host} answered ${status}`, { status, retryAfterSeconds })
  }
  if (status === 408) throw new UpstreamError('timeout', `${host} answered ${status}`, { status })
  if (status < 400 || status > 599 || (status === 416 && rangeStart !== undefined)) {
    throw new UpstreamError('invalid-response', `${host} answered ${status}, which makes no sense here`, {
      status,
    })
  }
  if (left && !(status === 404 && !isBlob)) {
    throw new UpstreamError('unavailable', `${host}, where a redirect led, answered ${status}`, { status })
  }
  return 'no'
}

/** A status that may be gone a moment later, when whoever answered says nothing of when to come again. */
export function isPassing({ exchange, left }: Followed): boolean {
  const { status, headers } = exchange
  if (headers.has('retry-after')) return false
  if (status === 500 || status === 502 || status === 503 || status === 504) return true
  return left && status >= 400 && status < 500 && status !== 404 && status !== 429
}
