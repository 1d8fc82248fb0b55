import { OciError } from '../oci/errors.ts'
import { UpstreamError } from '../upstream/errors.ts'

const defaultRetryAfterSeconds = 5
const longestRetryAfterSeconds = 60

/**
 * What the client is told when a pull ended in trouble. 503 where trying again may help, which is most: containerd tries
 * again on it and never on 502. 429 only when every upstream in trouble was throttling, 502 when all it got was nonsense.
 */
export function toOciError(troubles: readonly UpstreamError[]): OciError {
  const kinds = new Set(troubles.map(({ kind }) => kind))
  const cause = troubles[0]
  if (kinds.size === 1 && kinds.has('invalid-response')) return new OciError('UPSTREAM_INVALID', { cause })
  const waits = troubles.map(({ retryAfterSeconds }) => retryAfterSeconds ?? defaultRetryAfterSeconds)
  const retryAfterSeconds = Math.max(1, Math.min(longestRetryAfterSeconds, ...waits))
  const throttled = [...kinds].every((kind) => kind === 'rate-limited')
  return new OciError(throttled ? 'TOOMANYREQUESTS' : 'UNAVAILABLE', { retryAfterSeconds, cause })
}

/** An upstream that must not or cannot be asked: its place in the walk counts as trouble. */
export function refusalOf({
  problem,
  mode,
}: {
  readonly problem?: string | undefined
  readonly mode: string
}): UpstreamError | undefined {
  if (problem !== undefined) return new UpstreamError('blocked', problem)
  if (mode === 'CacheOnly') return new UpstreamError('blocked', 'the upstream is CacheOnly')
  return undefined
}
