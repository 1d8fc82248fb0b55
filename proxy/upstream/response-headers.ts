import type { UpstreamHeaders } from './client.ts'
import { UpstreamError } from './errors.ts'

/** Lower-case names; every occurrence of a header is kept. */
export type RawHeaders = ReadonlyMap<string, readonly string[]>

/** From undici's flat list of names and values. A map, so that a header named `__proto__` is only a header. */
export function readRawHeaders(list: readonly unknown[]): RawHeaders {
  const headers = new Map<string, string[]>()
  for (let at = 0; at + 1 < list.length; at += 2) {
    const name = textOf(list[at]).toLowerCase()
    const value = textOf(list[at + 1])
    const known = headers.get(name)
    if (known) known.push(value)
    else headers.set(name, [value])
  }
  return headers
}

/** Said exactly once, or several times the same; otherwise undefined. */
export function single(headers: RawHeaders, name: string): string | undefined {
  const values = headers.get(name)
  return values?.every((value) => value === values[0]) ? values[0] : undefined
}

/** How the end of a body is known. Throws UpstreamError when it could be read in two ways. */
export function framingOf(
  headers: RawHeaders,
  host: string,
): { length: number | undefined; byClose: boolean } {
  const lengths = headers.get('content-length') ?? []
  const encodings = headers.get('transfer-encoding') ?? []
  const [length] = lengths
  const wrong =
    lengths.length > 1 ||
    (length !== undefined && !/^\d{1,15}$/.test(length)) ||
    encodings.length > 1 ||
    (encodings[0] !== undefined && encodings[0].trim().toLowerCase() !== 'chunked') ||
    (lengths.length > 0 && encodings.length > 0)
  if (wrong) throw new UpstreamError('invalid-response', `${host} does not say where its answer ends`)
  const known = length === undefined ? undefined : Number(length)
  return { length: known, byClose: known === undefined && encodings.length === 0 }
}

/**
 * Of a yes. Throws UpstreamError for a body that is encoded although `identity` was asked for, and for a part that is not
 * the one asked for.
 */
export function readHeaders(
  headers: RawHeaders,
  {
    status,
    method,
    rangeStart,
    host,
  }: { status: 200 | 206; method: string; rangeStart: number | undefined; host: string },
): UpstreamHeaders {
  const encodings = headers.get('content-encoding') ?? []
  if (encodings.some((encoding) => !/^(?:identity)?$/i.test(encoding.trim()))) {
    throw new UpstreamError('invalid-response', `${host} answered with an encoding that was not asked for`)
  }
  const { length, byClose } = framingOf(headers, host)
  return {
    contentType: single(headers, 'content-type'),
    size: status === 206 ? totalOf(headers, { rangeStart, length, host }) : length,
    contentDigest: single(headers, 'docker-content-digest'),
    link: headers.get('link')?.join(', '),
    filtersApplied: single(headers, 'oci-filters-applied'),
    endsByClose: method !== 'HEAD' && byClose,
  }
}

function totalOf(
  headers: RawHeaders,
  { rangeStart, length, host }: { rangeStart: number | undefined; length: number | undefined; host: string },
): number | undefined {
  const range = headers.get('content-range') ?? []
  const [, start, end, total] = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/i.exec(range[0] ?? '') ?? []
  const first = Number(start)
  const last = Number(end)
  const size = total === '*' ? undefined : Number(total)
  const right =
    range.length === 1 &&
    rangeStart !== undefined &&
    first === rangeStart &&
    last >= first &&
    (size === undefined || last < size) &&
    (length === undefined || length === last - first + 1)
  if (!right)
    throw new UpstreamError('invalid-response', `${host} answered with another part than was asked for`)
  return size
}

function textOf(value: unknown): string {
  return Buffer.isBuffer(value) ? value.toString('latin1') : String(value)
}
