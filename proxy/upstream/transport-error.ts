import { UpstreamError, type UpstreamErrorKind } from './errors.ts'

/** Thrown inside a connection attempt for an address that the policy does not permit. */
export class AddressBlockedError extends Error {
  override readonly name = 'AddressBlockedError'
  readonly code = 'HEADWATER_ADDRESS_BLOCKED'
}

const kinds: Readonly<Record<string, UpstreamErrorKind>> = {
  HEADWATER_ADDRESS_BLOCKED: 'blocked',
  UND_ERR_CONNECT_TIMEOUT: 'timeout',
  UND_ERR_HEADERS_TIMEOUT: 'timeout',
  UND_ERR_BODY_TIMEOUT: 'timeout',
  ETIMEDOUT: 'timeout',
  ETIMEOUT: 'timeout',
  UND_ERR_HEADERS_OVERFLOW: 'invalid-response',
}

/** What undici's parser says of a head it cannot read. In a body it is what a cut looks like. */
const unreadable = new Set(['HPE', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'])

const worthAnotherTry = new Set(['ECONNRESET', 'ECONNREFUSED', 'ECONNABORTED', 'EPIPE', 'UND_ERR_SOCKET'])

/**
 * Of a failure below HTTP only the code is kept: the errors of the parser and of TLS carry bytes of the answer, and
 * messages carry addresses.
 */
export function toUpstreamError(
  error: unknown,
  host: string,
  during: 'head' | 'body' = 'head',
): UpstreamError {
  if (error instanceof UpstreamError) return error
  const code = codeOf(error)
  const isNonsense = during === 'head' && unreadable.has(code)
  const kind = kinds[code] ?? (isNonsense ? 'invalid-response' : 'unavailable')
  return new UpstreamError(kind, messageOf(kind, host, code), { cause: new TransportFailure(code) })
}

/** A failure of the connection itself, which a second connection may well not have. */
export function isWorthAnotherTry(error: unknown): boolean {
  return (
    error instanceof UpstreamError &&
    error.cause instanceof TransportFailure &&
    worthAnotherTry.has(error.cause.code)
  )
}

class TransportFailure extends Error {
  override readonly name = 'TransportFailure'
  readonly code: string

  constructor(code: string) {
    super(code)
    this.code = code
  }
}

function messageOf(kind: UpstreamErrorKind, host: string, code: string): string {
  switch (kind) {
    case 'blocked':
      return `${host} is at an address that is not permitted`
    case 'timeout':
      return `${host} did not answer in time (${code})`
    case 'invalid-response':
      return `${host} does not answer in HTTP (${code})`
    default:
      return `the connection to ${host} failed (${code})`
  }
}

/** The parser's errors have no code in undici 8, and those of a proxy have another inside. */
function codeOf(error: unknown): string {
  const { code, cause } = error as { code?: unknown; cause?: unknown }
  if (typeof code === 'string' && /^[A-Z0-9_]{1,60}$/.test(code)) {
    const inner = code === 'UND_ERR_PRX_TLS' || code === 'UND_ERR_PRX_CONN' ? cause : undefined
    return inner instanceof Error ? codeOf(inner) : code
  }
  return (error as { name?: unknown }).name === 'HTTPParserError' ? 'HPE' : 'UNKNOWN'
}
