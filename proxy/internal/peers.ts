import { Agent, type ClientRequest, type IncomingMessage, request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'
import { Readable } from 'node:stream'
import type { OpenedSource } from '../pull/fill-transfer.ts'
import type { Peers } from '../pull/sharing.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { ClusterAuth } from './cluster-auth.ts'
import { createFrameReader, readSize } from './fill-frames.ts'

export const signatureHeader = 'headwater-signature'

export const fillPath = (origin: string, digest: string) =>
  `/internal/v1/fills/${encodeURIComponent(origin)}/${encodeURIComponent(digest)}`

/** What an answer signs: that it is to this very request. */
export const answerTarget = (target: string, authorization: string) => `${target} ${authorization}`

/** A bringer says something every 300 ms, be it that there is nothing new. */
const silenceMs = 1_000
const silenceTicks = 10

/** Other replicas. Where they are was read in Redis: none is believed a word before it has signed its answer. */
export function createPeers({
  auth,
  now,
  url,
}: {
  auth: ClusterAuth
  now: () => number
  url: () => string | undefined
}): Peers {
  const agent = new Agent({ keepAlive: false })

  async function open(
    base: string,
    { origin, digest }: { origin: string; digest: string },
    start: number,
    signal: AbortSignal,
  ): Promise<OpenedSource> {
    const target = fillPath(origin, digest)
    const where = placeOf(base)
    if (!where) throw lost('the address of another replica is none')
    const authorization = auth.sign('GET', target, now())
    const asking = requestTo(where, target, { authorization, range: `bytes=${start}-` })
    // for as long as it takes to open: what is open has an end of its own
    const giveUp = () => asking.destroy(lost('another replica took too long'))
    signal.addEventListener('abort', giveUp)
    if (signal.aborted) giveUp()
    const silence = createSilence(() => asking.destroy(silent()))
    silence.begin()
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        asking.once('response', resolve).on('error', reject)
        asking.end()
      })
      const refusal = refusalIn(response, answerTarget(target, authorization))
      if (refusal !== undefined) {
        asking.destroy()
        throw lost(refusal)
      }
      return await openedFrom(response, start)
    } catch (error) {
      throw error instanceof UpstreamError ? error : lost('another replica cannot be reached', error)
    } finally {
      silence.end()
      signal.removeEventListener('abort', giveUp)
    }
  }

  function requestTo(
    { protocol, hostname, port }: URL,
    path: string,
    headers: Record<string, string>,
  ): ClientRequest {
    const isTls = protocol === 'https:'
    const at = { protocol, hostname: hostname.replace(/^\[|\]$/g, ''), port, path, headers }
    return isTls ? tlsRequest(at) : plainRequest({ ...at, agent })
  }

  function refusalIn({ headers, statusCode }: IncomingMessage, said: string): string | undefined {
    const signature = headers[signatureHeader]
    if (typeof signature !== 'string' || !auth.verify(signature, String(statusCode), said, now()))
      return statusCode === 401
        ? 'it does not know our cluster key, or has another time'
        : 'this is no replica of ours'
    return statusCode === 200 ? undefined : 'another replica has no such fill'
  }

  return { url, open }
}

/** Resolves with the first frame that says how it stands. */
function openedFrom(response: IncomingMessage, start: number): Promise<OpenedSource> {
  const { promise, resolve, reject } = Promise.withResolvers<OpenedSource>()
  let size: number | undefined
  let isOpened = false
  let hasEnded = false
  const silence = createSilence(() => fail(silent()))

  function fail(error: UpstreamError): void {
    silence.end()
    response.destroy()
    body.destroy(error)
    reject(error)
  }

  const body = new Readable({
    highWaterMark: 512 * 1024,
    read() {
      if (!response.isPaused()) return
      silence.begin()
      response.resume()
    },
    destroy(error, done) {
      silence.end()
      response.destroy()
      done(error)
    },
  })
  body.on('error', () => {})

  const read = createFrameReader(({ type, bytes }) => {
    if (type === 'size') size = readSize(bytes)
    if (type !== 'beat' && !isOpened) {
      isOpened = true
      resolve({ body, start, size, endsByClose: false })
    }
    if (type === 'end') {
      hasEnded = true
      silence.end()
      body.push(null)
    }
    if (type === 'data' && !hasEnded && !body.push(bytes)) {
      // whoever holds us back hears nothing
      silence.end()
      response.pause()
    }
  })
  response.on('data', (chunk: Buffer) => {
    silence.begin()
    try {
      read(chunk)
    } catch (error) {
      fail(lost('another replica sent nonsense', error))
    }
    if (hasEnded || response.isPaused()) silence.end()
  })
  response.once('error', (error) => fail(lost('another replica was cut', error)))
  response.once('close', () => {
    if (!hasEnded) fail(lost('another replica was cut'))
  })
  silence.begin()
  return promise
}

/** Tells once nothing was heard for so long. Time in which we were too busy to listen does not count. */
function createSilence(onSilence: () => void): { begin(): void; end(): void } {
  let timer: NodeJS.Timeout | undefined
  let ticks = 0
  const end = () => {
    clearInterval(timer)
    timer = undefined
  }
  return {
    begin() {
      ticks = 0
      timer ??= setInterval(() => {
        ticks += 1
        // what has come while we were busy is read first
        if (ticks > silenceTicks) setImmediate(() => ticks > silenceTicks && timer && onSilence())
      }, silenceMs / silenceTicks)
    },
    end,
  }
}

/** An address and nothing else. */
function placeOf(base: string): URL | undefined {
  const url = URL.canParse(base) ? new URL(base) : undefined
  const isPlain =
    url && ['http:', 'https:'].includes(url.protocol) && url.username === '' && url.password === ''
  return isPlain && url.pathname === '/' && url.search === '' && url.hash === '' ? url : undefined
}

const lost = (message: string, cause?: unknown) => new UpstreamError('unavailable', message, { cause })
const silent = () => new UpstreamError('timeout', 'nothing was heard of another replica')
