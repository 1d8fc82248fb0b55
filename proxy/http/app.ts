import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type FastifyInstance, fastify } from 'fastify'
import type { Log } from '../log.ts'
import type { EdgeMetrics } from '../metrics.ts'
import { OciError } from '../oci/errors.ts'
import type { Pull } from '../pull/pull.ts'
import type { RouteTable } from '../route-table.ts'
import { errorAnswer, send } from './answer.ts'
import { createBuffers } from './buffers.ts'
import { createConnections } from './connections.ts'
import { createExchange, type Exchange } from './exchange.ts'
import { createHotAnswers } from './hot.ts'
import { answerClientError, answerExpectations, closeAfterLongBody, refuse } from './refuse.ts'
import { createReporter } from './report.ts'
import { serve } from './serve.ts'

export interface AppLimits {
  readonly headersTimeoutMs: number
  /** For the whole request to arrive, a body included. */
  readonly requestTimeoutMs: number
  /** Longer than a load balancer keeps its own side, so that it is never us who close first. */
  readonly keepAliveTimeoutMs: number
  /** A connection that takes none of the bytes waiting for it for so long is closed. */
  readonly writeIdleTimeoutMs: number
  readonly checkIntervalMs: number
  readonly maxConnections: number
  readonly hotEntries: number
  readonly hotBytes: number
}

export const defaultLimits: AppLimits = {
  headersTimeoutMs: 20_000,
  requestTimeoutMs: 60_000,
  keepAliveTimeoutMs: 75_000,
  writeIdleTimeoutMs: 120_000,
  checkIntervalMs: 5_000,
  maxConnections: 10_000,
  hotEntries: 4096,
  hotBytes: 64 * 1024 * 1024,
}

export interface AppOptions {
  readonly pull: Pull
  /** The routes of this moment; another object means that they have changed. */
  readonly table: () => RouteTable
  readonly log: Log
  readonly metrics: EdgeMetrics
  readonly limits?: Partial<AppLimits>
}

export interface App {
  readonly fastify: FastifyInstance
  listen(where: { readonly host: string; readonly port: number }): Promise<AddressInfo>
  /** From now on each answer is the last of its connection. New connections are still taken. Safe to repeat. */
  startDraining(): void
  /** Takes no new connection, lets what runs finish, and after `withinMs` cuts what is left. True when nothing was cut. */
  drain(withinMs: number): Promise<boolean>
}

/** The registry's HTTP server: one wildcard route of Fastify, and ready answers ahead of its router. */
export function createApp({ pull, table, log, metrics, limits: given }: AppOptions): App {
  const limits = { ...defaultLimits, ...given }
  const nextId = createIds()
  const hot = createHotAnswers({
    log,
    metrics,
    nextId,
    maxEntries: limits.hotEntries,
    maxBytes: limits.hotBytes,
  })
  const connections = createConnections()
  const serving = { pull, table, hot, buffers: createBuffers(), log }
  const report = createReporter({ log, metrics })
  let seenTable: RouteTable | undefined
  let draining = false

  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    genReqId: nextId,
    routerOptions: { querystringParser: () => ({}) },
    frameworkErrors: (_error, request, reply) => {
      reply.hijack()
      void answerRequest(request.raw, reply.raw, String(request.id))
    },
    clientErrorHandler: (error, socket) =>
      answerClientError(socket as Socket, error, connections.isBusy(socket as Socket)),
    serverFactory: (router) =>
      createHttpServer(limits, (request, response) => handle(request, response, router)),
  })
  app.removeAllContentTypeParsers()
  app.addHook('onRequest', (request, reply, done) => {
    if (request.raw.method === 'GET' || request.raw.method === 'HEAD') return done()
    reply.hijack()
    refuseVerb(request.raw, reply.raw, String(request.id))
  })
  const answerReply = (
    request: { raw: IncomingMessage; id: string },
    reply: { raw: ServerResponse; hijack(): unknown },
  ) => {
    reply.hijack()
    return answerRequest(request.raw, reply.raw, request.id)
  }
  app.route({ method: ['GET', 'HEAD'], url: '*', handler: answerReply })
  app.setNotFoundHandler(answerReply)
  const server = app.server as Server
  guardServer(server, limits)

  function guardServer(server: Server, { writeIdleTimeoutMs, maxConnections }: AppLimits): void {
    server.maxConnections = maxConnections
    server.setTimeout(writeIdleTimeoutMs, (socket) => {
      // nothing waits to be taken by the client: it is we who are slow, and the pull has limits of its own
      if (connections.isBusy(socket) && socket.writableLength === 0) socket.setTimeout(writeIdleTimeoutMs)
      else socket.destroy()
    })
    answerExpectations(server, (request, response) => server.emit('request', request, response))
  }

  function handle(request: IncomingMessage, response: ServerResponse, router: Router): void {
    if (draining) response.shouldKeepAlive = false
    if (request.headers.host === undefined && request.httpVersion === '1.1') {
      response.shouldKeepAlive = false
      refuse(request, response, new OciError('REQUEST_INVALID'))
      return
    }
    const current = table()
    if (current !== seenTable) {
      seenTable = current
      hot.reset(current.registries.some(({ route }) => route.hosts.length > 0))
    }
    if (hot.answer(request, response)) return
    connections.inTurn(request.socket, response, () => router(request, response))
  }

  async function answerRequest(
    request: IncomingMessage,
    response: ServerResponse,
    id: string,
  ): Promise<void> {
    const exchange = createExchange(request, response, id)
    response.once('close', () => report(exchange))
    closeAfterLongBody(request, response)
    try {
      await serve(exchange, serving)
    } catch (error) {
      fail(exchange, error)
    }
  }

  function refuseVerb(request: IncomingMessage, response: ServerResponse, id: string): void {
    const exchange = createExchange(request, response, id)
    exchange.failure = new OciError('UNSUPPORTED')
    response.once('close', () => report(exchange))
    refuse(request, response, exchange.failure as OciError)
  }

  return {
    fastify: app,
    async listen({ host, port }) {
      await app.listen({ host, port })
      return server.address() as AddressInfo
    },
    startDraining() {
      draining = true
    },
    async drain(withinMs) {
      draining = true
      return await closeWithin(app, server, withinMs)
    },
  }
}

type Router = (request: IncomingMessage, response: ServerResponse) => void

function createHttpServer(limits: AppLimits, handle: Router): Server {
  return createServer(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      connectionsCheckingInterval: limits.checkIntervalMs,
      maxHeaderSize: 16 * 1024,
      keepAlive: true,
      keepAliveInitialDelay: 60_000,
      noDelay: true,
      requireHostHeader: false, // Node's own answer has no body
    },
    handle,
  )
}

/** An error before the head is an answer; after it, the connection is reset, so that nobody takes the rest for the end. */
function fail(exchange: Exchange, error: unknown): void {
  const { request, response } = exchange
  exchange.failure = error
  if (response.destroyed) return
  if (response.headersSent) {
    exchange.cut = true
    request.socket.resetAndDestroy()
  } else {
    send(response, errorAnswer(error, request.method))
  }
}

/** Unique in a process's life and, by the beginning, among processes. */
function createIds(): () => string {
  const prefix = `${randomBytes(4).toString('hex')}-`
  let count = 0
  return () => `${prefix}${count++}`
}

async function closeWithin(app: FastifyInstance, server: Server, withinMs: number): Promise<boolean> {
  let cut = false
  const sweep = setInterval(() => server.closeIdleConnections(), 50)
  const deadline = setTimeout(() => {
    cut = true
    server.closeAllConnections()
  }, withinMs)
  try {
    await app.close()
  } finally {
    clearInterval(sweep)
    clearTimeout(deadline)
  }
  return !cut
}
