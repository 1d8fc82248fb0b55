import { gzipSync } from 'node:zlib'
import type { Reply } from './reply.ts'
import { bytesSource, endlessSource, type Source, sourceBytes, textSource } from './source.ts'

/** A request as the fake upstream saw it. */
export interface SeenRequest {
  readonly method: string
  /** Without the query. */
  readonly path: string
  readonly query: URLSearchParams
  /** As on the request line. */
  readonly url: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Numbered from 1 in the order they were accepted. */
  readonly connection: number
  readonly at: number
}

/** Spoils one answer. Given the answer that would have been sent, and what was asked. */
export type Fault = (reply: Reply, request: SeenRequest) => void | Promise<void>

type Headers = Record<string, string | string[] | undefined>

export const fault = {
  /** No fault: a place in a queue for a good answer. */
  none: (): Fault => () => {},
  /** Several faults in one answer, applied in order. */
  all:
    (...faults: readonly Fault[]): Fault =>
    async (reply, request) => {
      for (const one of faults) await one(reply, request)
    },
  /** An error answer in the specification's format, or with a body of its own. */
  status:
    (status: number, { headers = {}, body }: { headers?: Headers; body?: string | Uint8Array } = {}): Fault =>
    (reply) => {
      reply.headers = { 'content-type': 'application/json' }
      reply.status = status
      setBody(reply, body ?? errorBody(status))
      setHeaders(reply, headers)
    },
  /** 200 with other bytes. */
  body:
    (bytes: string | Uint8Array | Source, contentType?: string): Fault =>
    (reply) => {
      reply.status = 200
      setBody(reply, bytes)
      if (contentType !== undefined) reply.headers['content-type'] = contentType
    },
  json:
    (value: unknown, status = 200): Fault =>
    (reply) => {
      reply.headers = { 'content-type': 'application/json' }
      reply.status = status
      setBody(reply, JSON.stringify(value))
    },
  /** Sets, or with undefined leaves out, headers of the usual answer. */
  headers:
    (headers: Headers): Fault =>
    (reply) =>
      setHeaders(reply, headers),
  digestHeader:
    (digest: string | undefined): Fault =>
    (reply) =>
      setHeaders(reply, { 'docker-content-digest': digest }),
  delay:
    (ms: number): Fault =>
    (reply) => {
      reply.delayMs += ms
    },
  /** Accepts the request and never answers. */
  hang: (): Fault => (reply) => {
    reply.hold = new Promise(() => {})
  },
  /** Answers as usual, but not before this is settled. */
  until:
    (moment: Promise<unknown>): Fault =>
    (reply) => {
      reply.hold = moment
    },
  /** Sends so many bytes of the body, then nothing, and keeps the connection. */
  stall:
    (at: number): Fault =>
    (reply) => {
      reply.stallAt = at
    },
  /** Ends the connection after so many bytes of the body, the length still announced. */
  cut:
    (at: number, by: 'fin' | 'rst' = 'fin'): Fault =>
    (reply) => {
      reply.cut = { at, by }
    },
  /** Resets the connection in place of an answer. */
  reset: (): Fault => (reply) => {
    reply.raw = { bytes: Buffer.alloc(0), after: 'rst' }
  },
  /** Turns the byte at each of these positions; negative counts from the end. */
  corrupt:
    (...positions: readonly number[]): Fault =>
    (reply) =>
      void reply.corrupt.push(...positions.map((at) => (at < 0 ? reply.body.size + at : at))),
  slow:
    (bytesPerSecond: number): Fault =>
    (reply) => {
      reply.bytesPerSecond = bytesPerSecond
    },
  /** Cuts at a multiple of `every` bytes when the reader pauses for longer than `ms`, as MCR was seen to. */
  impatient:
    (ms: number, every: number): Fault =>
    (reply) => {
      reply.impatience = { ms, every }
    },
  /** No length: the body ends with the connection. */
  withoutLength: (): Fault => (reply) => {
    reply.framing = 'close'
  },
  chunked: (): Fault => (reply) => {
    reply.framing = 'chunked'
  },
  /** Chunks, and the connection ends before the last one. */
  chunkedWithoutEnd:
    (by: 'fin' | 'rst' = 'fin'): Fault =>
    (reply) => {
      reply.framing = 'chunked'
      reply.cut = { at: reply.body.size, by }
    },
  /** HTTP/1.0 and no length. */
  http10: (): Fault => (reply) => {
    reply.version = '1.0'
    reply.framing = 'close'
  },
  /** Compressed and said so; `encoding` may be a chain that is not there. */
  gzip:
    (encoding = 'gzip'): Fault =>
    (reply) => {
      setBody(reply, gzipSync(sourceBytes(reply.body)))
      reply.headers['content-encoding'] = encoding
    },
  /** A body without end, of chunks. */
  endless:
    (contentType?: string): Fault =>
    (reply) => {
      reply.status = 200
      reply.body = endlessSource()
      reply.framing = 'chunked'
      if (contentType !== undefined) reply.headers['content-type'] = contentType
    },
  /** To one place, or to where a function of the request says. */
  redirect:
    (location: string | ((request: SeenRequest) => string | undefined), status = 307): Fault =>
    (reply, request) => {
      reply.status = status
      reply.headers = { location: typeof location === 'string' ? location : location(request) }
      setBody(reply, '')
    },
  /** The whole with 200, whatever range was asked for. */
  ignoreRange: (): Fault => (reply) => {
    if (reply.status !== 206) return
    reply.status = 200
    setBody(reply, reply.whole)
    delete reply.headers['content-range']
  },
  /** 206 with this Content-Range, whatever was asked for and whatever the body is. */
  partial:
    (contentRange: string | undefined): Fault =>
    (reply) => {
      reply.status = 206
      setHeaders(reply, { 'content-range': contentRange })
    },
  /** 401 with these challenges, one header each. */
  challenge:
    (...challenges: readonly string[]): Fault =>
    (reply) => {
      reply.status = 401
      reply.headers = { 'content-type': 'application/json', 'www-authenticate': [...challenges] }
      setBody(reply, errorBody(401))
    },
  tooManyRequests:
    (retryAfter?: string): Fault =>
    (reply) => {
      reply.status = 429
      reply.headers = { 'content-type': 'application/json', 'retry-after': retryAfter }
      setBody(reply, errorBody(429))
    },
  /** These bytes in place of an HTTP answer. */
  raw:
    (bytes: string | Uint8Array, after: 'fin' | 'rst' | 'stay' = 'fin'): Fault =>
    (reply) => {
      reply.raw = { bytes: Buffer.from(bytes as Uint8Array), after }
    },
}

/** The body and its length together; `fault.headers` afterwards may lie about the length. */
export function setBody(reply: Reply, body: string | Uint8Array | Source): void {
  if (typeof body === 'string') reply.body = textSource(body)
  else reply.body = body instanceof Uint8Array ? bytesSource(body) : body
  reply.headers['content-length'] = String(reply.body.size)
}

function setHeaders(reply: Reply, headers: Headers): void {
  for (const [name, value] of Object.entries(headers)) reply.headers[name.toLowerCase()] = value
}

const codes: Record<number, string> = {
  401: 'UNAUTHORIZED',
  403: 'DENIED',
  404: 'MANIFEST_UNKNOWN',
  429: 'TOOMANYREQUESTS',
}

export function errorBody(status: number, code: string = codes[status] ?? 'UNKNOWN'): string {
  return JSON.stringify({ errors: [{ code, message: `upstream says ${status}` }] })
}
