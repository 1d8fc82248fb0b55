/** Times are in milliseconds. */
export interface UpstreamLimits {
  /** DNS, TCP and TLS of one connection. */
  readonly connectMs: number
  /** From a request's end to the end of its answer's head. */
  readonly headersMs: number
  /** For requests that say no `firstByteMs` of their own. */
  readonly firstByteMs: number
  /** Between two pieces of a body that is wanted. */
  readonly idleMs: number
  /** For one exchange of a token, redirects and another try included. */
  readonly tokenMs: number
  /** The fewest bytes of a wanted body in this time. */
  readonly slowest: { readonly bytes: number; readonly ms: number }
  readonly headerBytes: number
  /** Per upstream and host, for blobs and for everything else each; and of one upstream so many blobs at a time. */
  readonly connections: number
}

export const defaultUpstreamLimits: UpstreamLimits = {
  connectMs: 3_000,
  headersMs: 10_000,
  firstByteMs: 15_000,
  idleMs: 20_000,
  tokenMs: 10_000,
  slowest: { bytes: 32 * 1024, ms: 30_000 },
  headerBytes: 32 * 1024,
  connections: 100,
}
