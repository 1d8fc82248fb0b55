import type { ServerResponse } from 'node:http'
import { OciError } from '../oci/errors.ts'
import type { Exchange } from './exchange.ts'

/** A response whose body is at hand. `headers` is flat, name and value in turn, as Node writes it fastest. */
export interface Answer {
  readonly status: number
  readonly headers: readonly string[]
  /** Left out for HEAD and 304. */
  readonly body: Buffer | undefined
}

export function send(response: ServerResponse, { status, headers, body }: Answer): void {
  response.writeHead(status, headers as string[])
  response.end(body)
}

/** The only place that makes an error's body. An error that is no OciError is told to the client as nothing but internal. */
export function errorAnswer(
  error: unknown,
  method: string | undefined,
  extra: readonly string[] = [],
): Answer {
  const known = error instanceof OciError ? error : new OciError('INTERNAL')
  const body = Buffer.from(known.toBody())
  const headers = ['Content-Type', 'application/json', 'Content-Length', String(body.length), ...extra]
  if (known.status === 405) headers.push('Allow', 'GET, HEAD')
  if (known.retryAfterSeconds !== undefined) {
    headers.push('Retry-After', String(Math.max(0, Math.ceil(known.retryAfterSeconds))))
  }
  return { status: known.status, headers, body: method === 'HEAD' ? undefined : body }
}

/** Sends an answer and keeps the exchange's account of it. */
export function sendBytes(exchange: Exchange, answer: Answer): void {
  send(exchange.response, answer)
  exchange.bytes = answer.body?.length ?? 0
  if (exchange.bytes > 0) exchange.firstByteAt = performance.now()
}

/** `OCI-Namespace` says that `ns` was used, as it is whenever something was found; `Warning` that an answer is stale. */
export function shared({ ns }: Exchange, warning: string | undefined): string[] {
  const headers = ns === '' ? [] : ['OCI-Namespace', ns]
  if (warning !== undefined) headers.push('Warning', `299 - "${quotable(warning)}"`)
  return headers
}

/** The inside of a quoted string of RFC 9110, shorter than the 4,096 bytes that the specification allows. */
function quotable(text: string): string {
  return text
    .slice(0, 1000)
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/["\\]/g, '\\$&')
}
