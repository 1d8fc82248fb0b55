import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../log.ts'
import type { Cell, Timing } from '../metric-series.ts'
import type { EdgeMetrics } from '../metrics.ts'
import type { Lease } from '../pull/pull.ts'
import type { RouteTable } from '../route-table.ts'
import type { Answer } from './answer.ts'
import type { Exchange } from './exchange.ts'
import { maxUserAgentLength, milliseconds } from './report.ts'
import { hostOf } from './target.ts'

/**
 * Answers that may be repeated as they are, ready made. A request that finds its own here is answered before Fastify's
 * router sees it; everything else, and every doubt, goes the ordinary way. See docs/decisions on hot answers.
 */
export interface HotAnswers {
  /** True when the request was answered. */
  answer(request: IncomingMessage, response: ServerResponse): boolean
  /** Keeps an answer of the ordinary way, made for the exchange's own request, while its lease is current. */
  remember(exchange: Exchange, answer: Answer, lease: Lease): void
  /** Forgets everything when this is another table than before. */
  follow(table: RouteTable): void
  readonly size: number
}

interface HotAnswer extends Answer {
  /** A small body as text of one byte a character, which Node sends in one piece with the head. */
  readonly text: string | undefined
  readonly lease: Lease
  readonly weight: number
  /** pino's number for info, or for warn where the answer is stale. */
  readonly level: 30 | 40
  /** The middle of its log line, serialised; undefined when nothing is logged. */
  readonly logged: string | undefined
  readonly requests: Cell
  readonly bytes: Cell
  readonly duration: Timing
  readonly firstByte: Timing
}

/** What the log says of a connection, serialised once. */
interface Caller {
  userAgent: string | undefined
  logged: string
}

export interface HotOptions {
  readonly log: Log
  readonly metrics: EdgeMetrics
  readonly nextId: () => string
  readonly maxEntries: number
  readonly maxBytes: number
}

const longestText = 32 * 1024

/** Other queries change nothing, and would let a client fill the table with one answer. */
const plainTarget = /^\/[^?#]*(?:\?ns=[A-Za-z0-9._:-]+)?$/

export function createHotAnswers({ log, metrics, nextId, maxEntries, maxBytes }: HotOptions): HotAnswers {
  const tables = { GET: new Map<string, HotAnswer>(), HEAD: new Map<string, HotAnswer>() }
  const callers = new WeakMap<object, Caller>()
  let routes: RouteTable | undefined
  /** On these the same path may mean another thing; what others call us is all one. */
  let claimed: ReadonlySet<string> = new Set()
  let weight = 0

  function keyOf(request: IncomingMessage): string {
    const host = claimed.size === 0 ? undefined : hostOf(request.headers.host)
    return host !== undefined && claimed.has(host) ? `${host} ${request.url}` : (request.url ?? '')
  }

  function forget(table: Map<string, HotAnswer>, key: string): void {
    weight -= table.get(key)?.weight ?? 0
    table.delete(key)
  }

  function makeRoom(): void {
    while (tables.GET.size + tables.HEAD.size > maxEntries || weight > maxBytes) {
      const table = tables.HEAD.size > tables.GET.size ? tables.HEAD : tables.GET
      const [oldest] = table.keys()
      if (oldest === undefined) return
      forget(table, oldest)
    }
  }

  function writeLine(hot: HotAnswer, request: IncomingMessage, durationMs: number): void {
    const userAgent = request.headers['user-agent']
    let caller = callers.get(request.socket)
    if (caller === undefined || caller.userAgent !== userAgent) {
      caller = { userAgent, logged: describeCaller(request.socket.remoteAddress, userAgent) }
      callers.set(request.socket, caller)
    }
    log.writeLine(
      `{"level":${hot.level},"time":${Date.now()},"requestId":"${nextId()}",${hot.logged}${caller.logged},"durationMs":${durationMs},"msg":"request"}\n`,
    )
  }

  function give(hot: HotAnswer, request: IncomingMessage, response: ServerResponse, startedAt: number): void {
    response.writeHead(hot.status, hot.headers as string[])
    if (hot.text === undefined) response.end(hot.body)
    else response.end(hot.text, 'latin1')
    hot.lease.use()
    hot.requests.value += 1
    hot.bytes.value += hot.body?.length ?? 0
    const duration = performance.now() - startedAt
    hot.duration.observe(duration / 1000)
    hot.firstByte.observe(duration / 1000)
    if (hot.logged !== undefined) writeLine(hot, request, milliseconds(duration))
  }

  function prepare(exchange: Exchange, registry: string, answer: Answer, lease: Lease): HotAnswer {
    const { kind, story } = exchange
    const isStale = story.outcome === 'stale-served'
    const outcome = isStale ? 'stale-served' : 'hit'
    const isLogged = log.logger.isLevelEnabled(isStale ? 'warn' : 'info')
    const { body } = answer
    const text = body !== undefined && body.length < longestText ? body.toString('latin1') : undefined
    return {
      ...answer,
      text,
      lease,
      weight: (body?.length ?? 0) + (text?.length ?? 0) + 1024,
      level: isStale ? 40 : 30,
      logged: isLogged ? describeExchange(exchange, answer, outcome) : undefined,
      requests: metrics.requests(registry, kind, outcome),
      bytes: metrics.servedBytes('memory'),
      duration: metrics.duration(kind, outcome),
      firstByte: metrics.firstByte(kind),
    }
  }

  return {
    answer(request, response) {
      const table =
        request.method === 'GET' ? tables.GET : request.method === 'HEAD' ? tables.HEAD : undefined
      if (table === undefined || table.size === 0) return false
      const startedAt = performance.now()
      const key = keyOf(request)
      const hot = table.get(key)
      if (hot === undefined || !isPlain(request.headers)) return false
      if (!hot.lease.current()) {
        forget(table, key)
        return false
      }
      give(hot, request, response, startedAt)
      return true
    },

    remember(exchange, answer, lease) {
      const { request, method, registry } = exchange
      // what was authorised by routes that are gone is not for those that come now
      if (registry === undefined || exchange.routes !== routes) return
      if (!plainTarget.test(request.url ?? '') || !isPlain(request.headers)) return
      const table = tables[method]
      const key = keyOf(request)
      forget(table, key)
      const hot = prepare(exchange, registry.key, answer, lease)
      weight += hot.weight
      table.set(key, hot)
      makeRoom()
    },

    follow(table) {
      if (table === routes) return
      routes = table
      claimed = new Set(table.registries.flatMap(({ route }) => route.hosts))
      weight = 0
      tables.GET.clear()
      tables.HEAD.clear()
    },

    get size() {
      return tables.GET.size + tables.HEAD.size
    },
  }
}

/** Nothing in the head asks for another answer than the whole, or brings a body along. */
function isPlain(headers: IncomingMessage['headers']): boolean {
  return (
    headers.range === undefined &&
    headers['if-none-match'] === undefined &&
    headers['content-length'] === undefined &&
    headers['transfer-encoding'] === undefined &&
    headers.expect === undefined
  )
}

function describeExchange(
  { kind, method, registry, repository, reference, ns, story }: Exchange,
  answer: Answer,
  outcome: string,
) {
  const fields = {
    kind,
    method,
    registry: registry?.key,
    repository,
    reference,
    ns: ns === '' ? undefined : ns,
    status: answer.status,
    outcome,
    upstream: story.upstream,
    source: 'memory',
    bytes: answer.body?.length ?? 0,
  }
  return JSON.stringify(fields).slice(1, -1)
}

function describeCaller(client: string | undefined, userAgent: string | undefined): string {
  const fields = JSON.stringify({ client, userAgent: userAgent?.slice(0, maxUserAgentLength) }).slice(1, -1)
  return fields === '' ? '' : `,${fields}`
}
