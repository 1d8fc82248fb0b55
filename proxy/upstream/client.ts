import type { Readable } from 'node:stream'
import type { UpstreamRoute } from '../routes.ts'

/** Asks one upstream registry, with its own token, redirects, limits and retry. Nothing of caching. */
export interface UpstreamClient {
  /**
   * A yes or a definite no. Throws UpstreamError for trouble. `signal` ends everything, the body included, with an
   * UpstreamError too: `timeout` where its reason is one, otherwise `unavailable`. Without a `firstByteMs` of its own the
   * request has the client's default. Bodies have a limit for standing still and a slowest pace while they are wanted.
   */
  request(request: UpstreamRequest): Promise<UpstreamAnswer>
  /** Forgets pools, tokens and refusals of upstreams that are not among these; open bodies go on. */
  retain(upstreams: readonly UpstreamRoute[]): void
  /** Ends every connection. */
  close(): Promise<void>
}

export interface UpstreamRequest {
  readonly upstream: UpstreamRoute
  readonly method: 'GET' | 'HEAD'
  /** As sent upstream: also the token's scope. Empty, as the resource then is, for `/v2/` of the registry itself. */
  readonly repository: string
  /** Below `/v2/<repository>/`, e.g. `manifests/latest` or `tags/list?n=5`. */
  readonly resource: string
  readonly accept?: string | undefined
  /** Asks for the bytes from here to the end. An answer of 200 is then an answer from byte 0. */
  readonly rangeStart?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Limit in milliseconds for all that comes before the first byte of the body: DNS, TLS, token, redirects, retry. */
  readonly firstByteMs?: number | undefined
}

export type UpstreamAnswer =
  | {
      readonly found: true
      /** 200, or 206 where a range was asked for (its Content-Range was checked to begin at `rangeStart`). */
      readonly status: 200 | 206
      readonly headers: UpstreamHeaders
      /** Not decoded. The caller reads it to its end or destroys it; its errors are UpstreamError. Empty for HEAD. */
      readonly body: Readable
    }
  | {
      readonly found: false
      /** The definite no: 404, or 401/403 on the resource, or another 4xx such as 405. */
      readonly status: number
    }

export interface UpstreamHeaders {
  readonly contentType: string | undefined
  /** Of the whole resource, also for 206; undefined when the upstream did not say or did not say it well. */
  readonly size: number | undefined
  /** `Docker-Content-Digest` as sent, not checked. */
  readonly contentDigest: string | undefined
  readonly link: string | undefined
  readonly filtersApplied: string | undefined
  /** HTTP/1.0, or a body ended by the close of the connection: its end proves nothing. */
  readonly endsByClose: boolean
}
