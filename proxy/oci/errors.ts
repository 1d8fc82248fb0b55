/**
 * One row per way a request can fail: the only place a status is chosen. `code` is what the client reads, from the
 * distribution specification's table where it has one (https://github.com/opencontainers/distribution-spec, "Error Codes").
 */
const table = {
  BLOB_UNKNOWN: { status: 404, code: 'BLOB_UNKNOWN', message: 'blob unknown to registry' },
  CATALOG_UNSUPPORTED: { status: 404, code: 'UNSUPPORTED', message: 'a virtual registry has no catalog' },
  DENIED: { status: 403, code: 'DENIED', message: 'requested access to the resource is denied' },
  DIGEST_INVALID: { status: 400, code: 'DIGEST_INVALID', message: 'provided digest is not a valid digest' },
  EXPECTATION_FAILED: { status: 417, code: 'UNSUPPORTED', message: 'the expectation is not supported' },
  HEADERS_TOO_LARGE: { status: 431, code: 'UNSUPPORTED', message: 'request headers are too large' },
  INTERNAL: { status: 500, code: 'UNKNOWN', message: 'internal error' },
  MANIFEST_UNKNOWN: { status: 404, code: 'MANIFEST_UNKNOWN', message: 'manifest unknown to registry' },
  NAME_INVALID: { status: 400, code: 'NAME_INVALID', message: 'invalid repository name' },
  NAME_UNKNOWN: { status: 404, code: 'NAME_UNKNOWN', message: 'repository name not known to registry' },
  PAGINATION_NUMBER_INVALID: {
    status: 400,
    code: 'PAGINATION_NUMBER_INVALID',
    message: 'invalid number of results requested',
  },
  PATH_UNKNOWN: { status: 404, code: 'UNSUPPORTED', message: 'no such endpoint' },
  RANGE_INVALID: { status: 416, code: 'RANGE_INVALID', message: 'invalid content range' },
  REQUEST_INVALID: { status: 400, code: 'UNSUPPORTED', message: 'the request is not valid HTTP' },
  REQUEST_TIMEOUT: { status: 408, code: 'UNSUPPORTED', message: 'the request came too slowly' },
  STORE_UNAVAILABLE: {
    status: 503,
    code: 'UNAVAILABLE',
    message: 'the registry cannot use its own storage; try again later',
  },
  TOOMANYREQUESTS: { status: 429, code: 'TOOMANYREQUESTS', message: 'too many requests' },
  UNAUTHORIZED: { status: 401, code: 'UNAUTHORIZED', message: 'authentication required' },
  UNAVAILABLE: {
    status: 503,
    code: 'UNAVAILABLE',
    message: 'an upstream registry is unavailable; try again later',
  },
  UNSUPPORTED: { status: 405, code: 'UNSUPPORTED', message: 'the operation is unsupported' },
  UPSTREAM_INVALID: {
    status: 502,
    code: 'UNKNOWN',
    message: 'an upstream registry answered with something that is not valid',
  },
} as const satisfies Record<string, { status: number; code: string; message: string }>

export type OciErrorKey = keyof typeof table

/** A failure the client is told of. `detail` is sent to the client: nothing secret, nothing about upstreams. */
export class OciError extends Error {
  override readonly name = 'OciError'
  readonly key: OciErrorKey
  readonly code: string
  readonly status: number
  readonly detail: unknown
  /** Sent as `Retry-After` when set. */
  readonly retryAfterSeconds: number | undefined

  constructor(
    key: OciErrorKey,
    {
      detail,
      retryAfterSeconds,
      cause,
    }: { detail?: unknown; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(table[key].message, { cause })
    this.key = key
    this.code = table[key].code
    this.status = table[key].status
    this.detail = detail
    this.retryAfterSeconds = retryAfterSeconds
  }

  /** The body of the specification's error format. */
  toBody(): string {
    const { code, message, detail } = this
    return JSON.stringify({ errors: [detail === undefined ? { code, message } : { code, message, detail }] })
  }
}
