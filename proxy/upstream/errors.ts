/**
 * Trouble with an upstream, as `design.md` uses the word: anything that is neither a yes nor a definite no. What it
 * means for the client is decided in `pull/`.
 *
 * - `unavailable`: refused, reset, DNS, TLS, 5xx, cut
 * - `timeout`: one of the limits of time ran out
 * - `rate-limited`: 429
 * - `credentials-refused`: the upstream does not accept the configured credentials
 * - `invalid-response`: nonsense, too large, wrong type, wrong bytes, a redirect that is not followed
 * - `blocked`: we do not ask: address or realm not permitted, `CacheOnly`, not resolved, its own `Retry-After`, too many
 *   blobs of it under way
 */
export type UpstreamErrorKind =
  | 'unavailable'
  | 'timeout'
  | 'rate-limited'
  | 'credentials-refused'
  | 'invalid-response'
  | 'blocked'

export class UpstreamError extends Error {
  override readonly name = 'UpstreamError'
  readonly kind: UpstreamErrorKind
  /** The upstream's status, where it got that far. */
  readonly status: number | undefined
  readonly retryAfterSeconds: number | undefined

  /** `message` goes to logs and conditions: it names hosts, never a credential, a token or a query. */
  constructor(
    kind: UpstreamErrorKind,
    message: string,
    {
      status,
      retryAfterSeconds,
      cause,
    }: { status?: number; retryAfterSeconds?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause })
    this.kind = kind
    this.status = status
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** No place for another blob got free here: it was not asked, which says nothing of it, and soon it may be. */
export class BusyError extends UpstreamError {
  constructor(message: string) {
    super('blocked', message)
  }
}
