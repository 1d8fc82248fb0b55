import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { UpstreamError } from './errors.ts'
import { framingOf, type RawHeaders, readRawHeaders } from './response-headers.ts'
import { toUpstreamError } from './transport-error.ts'

/** What came back for one request over one connection. */
export interface Exchange {
  readonly status: number
  readonly headers: RawHeaders
  /** Its errors are UpstreamError. To be read to its end or destroyed, except for HEAD. */
  readonly body: Readable
  /** Whether a byte of the body has come, or its end. */
  hasBegun(): boolean
}

export interface Sending {
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Readonly<Record<string, string>>
  /** Ends the request and the body with its reason, an UpstreamError. */
  readonly signal: AbortSignal
  readonly onBytes: (bytes: number) => void
  /** A body that is wanted and brings fewer than `bytes` in `ms` is too slow. */
  readonly slowest: { readonly bytes: number; readonly ms: number }
}

const mostInformational = 8
const bufferedBytes = 256 * 1024

/** One request, no redirects, nothing decoded. Rejects with UpstreamError. */
export function send(dispatcher: Dispatcher, sending: Sending): Promise<Exchange> {
  const { url, method, headers, signal } = sending
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const handler = createHandler(sending, { resolve, reject })
    dispatcher.dispatch(
      { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers: { ...headers } },
      handler,
    )
  })
}

function createHandler(
  { url, method, signal, onBytes, slowest }: Sending,
  { resolve, reject }: { resolve: (exchange: Exchange) => void; reject: (error: unknown) => void },
): Dispatcher.DispatchHandler {
  let controller: Dispatcher.DispatchController | undefined
  let body: Readable | undefined
  let informational = 0
  let startedAnswer = false
  let begun = false
  let ended = false
  let watch: PaceWatch | undefined

  function abort(): void {
    fail(signal.reason as UpstreamError)
    controller?.abort(signal.reason as Error)
  }

  function settle(): void {
    ended = true
    begun = true
    watch?.stop()
    signal.removeEventListener('abort', abort)
  }

  function fail(error: UpstreamError): void {
    if (ended) return
    settle()
    if (body) body.destroy(error)
    else reject(error)
  }

  signal.addEventListener('abort', abort, { once: true })
  return {
    onRequestStart(started) {
      controller = started
      if (ended) started.abort(new Error('no longer wanted'))
    },

    onResponseStarted() {
      startedAnswer = true
    },

    onResponseStart(_controller, status) {
      if (status < 200) {
        if (++informational > mostInformational) throw nonsense(url)
        return
      }
      const headers = readRawHeaders(rawHeadersOf(controller))
      if (method !== 'HEAD') framingOf(headers, url.hostname)
      const readable = createBody({
        resume: () => {
          watch?.resume()
          controller?.resume()
        },
        abandon: () => {
          if (ended) return
          settle()
          controller?.abort(new Error('no longer wanted'))
        },
      })
      body = readable
      watch = watchPace(slowest, () => {
        fail(new UpstreamError('timeout', `${url.hostname} sends too slowly`))
        controller?.abort(new Error('too slow'))
      })
      resolve({ status, headers, body: readable, hasBegun: () => begun })
    },

    onResponseData(_controller, chunk) {
      begun = true
      onBytes(chunk.length)
      watch?.count(chunk.length)
      if (body?.push(chunk) === false) {
        watch?.pause()
        controller?.pause()
      }
    },

    onResponseEnd() {
      settle()
      body?.push(null)
    },

    onResponseError(_controller, error) {
      const { code } = error as { code?: unknown }
      const cutHead = body === undefined && startedAnswer && code === 'UND_ERR_SOCKET'
      fail(cutHead ? nonsense(url) : toUpstreamError(error, url.hostname, body ? 'body' : 'head'))
    },
  }
}

/** Never fails where nobody listens: the error is kept, and whoever reads later gets it. */
function createBody({ resume, abandon }: { resume: () => void; abandon: () => void }): Readable {
  const body = new Readable({
    highWaterMark: bufferedBytes,
    read: resume,
    destroy(error, callback) {
      abandon()
      callback(error)
    },
  })
  body.on('error', () => {})
  return body
}

interface PaceWatch {
  count(bytes: number): void
  /** From here to `resume` it is the reader who is slow, and the window does not count. */
  pause(): void
  resume(): void
  stop(): void
}

function watchPace({ bytes: fewest, ms }: Sending['slowest'], tooSlow: () => void): PaceWatch {
  let bytes = 0
  let paused = false
  let excused = false
  const timer = setInterval(() => {
    if (bytes < fewest && !excused) tooSlow()
    bytes = 0
    excused = paused
  }, ms).unref()
  return {
    count(more) {
      bytes += more
    },
    pause() {
      paused = true
      excused = true
    },
    resume() {
      paused = false
    },
    stop: () => clearInterval(timer),
  }
}

function rawHeadersOf(controller: Dispatcher.DispatchController | undefined): readonly unknown[] {
  const raw = (controller as { rawHeaders?: unknown } | undefined)?.rawHeaders
  return Array.isArray(raw) ? raw : []
}

function nonsense(url: URL): UpstreamError {
  return new UpstreamError('invalid-response', `${url.hostname} does not answer in HTTP`)
}

const mostDiscarded = 64 * 1024
const longestDiscardMs = 2_000

/** Reads a body nobody wants to its end, if that is near, so that the connection can be used again. */
export function discard(body: Readable): void {
  let seen = 0
  const timer = setTimeout(() => body.destroy(), longestDiscardMs).unref()
  body.once('close', () => clearTimeout(timer))
  body.on('data', (chunk: Buffer) => {
    seen += chunk.length
    if (seen > mostDiscarded) body.destroy()
  })
}
