import type { Log } from '../log.ts'
import type { EdgeMetrics } from '../metrics.ts'
import { OciError } from '../oci/errors.ts'
import type { Exchange } from './exchange.ts'

/** What became of a request: a label, so one of a few. */
export function outcomeOf({ response, story, cut }: Exchange): string {
  if (cut) return 'cut'
  if (!response.writableFinished) return 'aborted'
  const status = response.statusCode
  if (status < 400) return story.outcome ?? 'served'
  return refusals[status] ?? (status < 500 ? 'invalid' : 'unavailable')
}

const refusals: Readonly<Record<number, string>> = {
  401: 'unauthorized',
  403: 'denied',
  404: 'not-found',
  405: 'unsupported',
  429: 'throttled',
  500: 'error',
}

/** Tells of an exchange once, when its response has closed. */
export function createReporter({ log, metrics }: { readonly log: Log; readonly metrics: EdgeMetrics }) {
  return function report(exchange: Exchange): void {
    const { kind, registry, story, bytes, startedAt, firstByteAt } = exchange
    const outcome = outcomeOf(exchange)
    const now = performance.now()
    metrics.requests(registry?.key ?? 'unknown', kind, outcome).value += 1
    metrics.duration(kind, outcome).observe((now - startedAt) / 1000)
    if (firstByteAt !== undefined) metrics.firstByte(kind).observe((firstByteAt - startedAt) / 1000)
    if (bytes > 0) metrics.servedBytes(story.source ?? 'memory').value += bytes

    const level = levelOf(exchange, outcome)
    if (!log.logger.isLevelEnabled(level)) return
    log.logger[level](fieldsOf(exchange, outcome, now), outcome === 'error' ? 'request failed' : 'request')
  }
}

/** Requests that name nothing of ours are noise: scanners and typing errors. */
function levelOf({ kind, story }: Exchange, outcome: string): 'debug' | 'info' | 'warn' | 'error' {
  if (outcome === 'error') return 'error'
  if (['cut', 'throttled', 'unavailable'].includes(outcome) || story.outcome === 'stale-served') return 'warn'
  return kind === 'none' || kind === 'version' ? 'debug' : 'info'
}

function fieldsOf(exchange: Exchange, outcome: string, now: number): Record<string, unknown> {
  const { request, response, story, failure, startedAt, firstByteAt } = exchange
  return {
    requestId: exchange.id,
    kind: exchange.kind,
    method: request.method,
    registry: exchange.registry?.key,
    repository: exchange.repository,
    reference: exchange.reference,
    ns: exchange.ns === '' ? undefined : exchange.ns,
    status: response.headersSent ? response.statusCode : undefined,
    outcome,
    upstream: story.upstream,
    source: story.source,
    bytes: exchange.bytes,
    durationMs: milliseconds(now - startedAt),
    firstByteMs:
      firstByteAt === undefined || now - firstByteAt < 1 ? undefined : milliseconds(firstByteAt - startedAt),
    trail: story.trail.length > 0 ? story.trail.slice(0, 20) : undefined,
    error: failure instanceof OciError ? failure.key : undefined,
    err: failureToShow(failure),
    client: request.socket?.remoteAddress,
    userAgent: request.headers['user-agent']?.slice(0, maxUserAgentLength),
  }
}

export const maxUserAgentLength = 200

/** What upstreams did wrong is in the trail; a stack is for what we did, or our storage. */
function failureToShow(failure: unknown): unknown {
  if (!(failure instanceof OciError)) return failure
  return failure.key === 'STORE_UNAVAILABLE' ? failure.cause : undefined
}

export function milliseconds(duration: number): number {
  return Math.round(duration * 1000) / 1000
}
