import { STATUS_CODES } from 'node:http'
import { ApiException } from '@kubernetes/client-node'

/** What went wrong with a request to the API server. Of its answer it holds no more than what may be logged. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** Undefined when there was no answer. */
  readonly status: number | undefined
  /** The machine's word for it, such as `AlreadyExists`; or the code of a network error. */
  readonly reason: string
  readonly retryAfterSeconds: number | undefined

  constructor(
    status: number | undefined,
    reason: string,
    {
      detail,
      retryAfterSeconds,
      cause,
    }: { detail?: string; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    const said = status === undefined ? `the API server cannot be reached: ${reason}` : `${status} ${reason}`
    super(detail === undefined ? said : `${said}: ${detail}`, { cause })
    this.status = status
    this.reason = reason
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  return error instanceof ApiError && error.status !== undefined && statuses.includes(error.status)
}

/** How long the server asks to be left alone, of which a minute is believed. */
export function retryAfterMs(error: unknown): number {
  const seconds = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) : 0
  return Math.min(seconds, 60) * 1000
}

/** The client's own errors carry the body and headers of the answer along; those stay behind. */
export function toApiError(error: unknown): unknown {
  if (error instanceof ApiError) return error
  if (error instanceof ApiException) return fromAnswer(error)
  const code = networkCodeOf(error)
  return code === undefined ? error : new ApiError(undefined, code)
}

function fromAnswer({ code, body, headers }: ApiException<unknown>): ApiError {
  const { reason, message, details } = statusOf(body)
  const seconds = Number(headers['retry-after'] ?? details?.retryAfterSeconds)
  return new ApiError(code, reason ?? STATUS_CODES[code]?.replaceAll(' ', '') ?? 'Unknown', {
    // a refusal names the right that is missing; other messages may repeat what was sent
    ...(code === 403 && message !== undefined ? { detail: message.slice(0, 500) } : {}),
    ...(Number.isFinite(seconds) && seconds >= 0 ? { retryAfterSeconds: seconds } : {}),
  })
}

interface Status {
  readonly reason?: string
  readonly message?: string
  readonly details?: { readonly retryAfterSeconds?: number }
}

function statusOf(body: unknown): Status {
  if (typeof body === 'object' && body !== null) return body as Status
  if (typeof body !== 'string' || !body.startsWith('{')) return {}
  try {
    return JSON.parse(body) as Status
  } catch {
    return {}
  }
}

/** Of an error of the network, wherever in the chain of causes its code is; undefined for any other error. */
function networkCodeOf(error: unknown, depth = 0): string | undefined {
  if (!(error instanceof Error) || depth > 4) return undefined
  const { code } = error as NodeJS.ErrnoException
  if (typeof code === 'string' && /^E[A-Z]|^UND_|^CERT_|^ERR_(?:TLS|SSL)|_CERT|_SIGNATURE/.test(code))
    return code
  if (error.name === 'TimeoutError') return 'ETIMEDOUT'
  const inner = networkCodeOf(error.cause, depth + 1)
  // fetch says no more than `fetch failed` or `terminated` itself
  return (
    inner ??
    (error instanceof TypeError && /^(?:fetch failed|terminated)$/.test(error.message)
      ? 'ECONNRESET'
      : undefined)
  )
}
