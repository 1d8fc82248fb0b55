import { randomBytes } from 'node:crypto'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from 'fastify'
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
import { createListener, type Handler, type ListenerLimits } from './listener.ts'
import { answerClientError, closeAfterLongBody, refuse } from './refuse.ts'
import { createReporter } from './report.ts'
import { serve } from './serve.ts'
import { createUntaken } from './untaken.ts'

export interface AppLimits extends ListenerLimits {
  readonly hotEntries: number
  readonly hotBytes: number
  /** Of lists that clients have asked for and not taken yet. */
  readonly listBytes: number
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
  listBytes: 128 * 1024 * 1024,
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
  const connections = createConnections()
  const hot = createHotAnswers({
    log,
    metrics,
    nextId,
    maxEntries: limits.hotEntries,
    maxBytes: limits.hotBytes,
  })
  const serving = { pull, table, hot, buffers: createBuffers(), lists: createUntaken(limits.listBytes) }
  const report = createReporter({ log, metrics })
  let draining = false

  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    genReqId: nextId,
    routerOptions: { querystringParser: () => ({}) },
    frameworkErrors: (_error, request, reply) =>
      void answer(request as FastifyRequest, reply as FastifyReply),
    clientErrorHandler: (error, socket) =>
      answerClientError(socket as Socket, error, connections.isBusy(socket as Socket)),
    serverFactory: (router) =>
      createListener(limits, connections, (request, response) => {
        if (draining) response.shouldKeepAlive = false
        // else an earlier answer is not taken yet, and this one would wait in memory
        const isNext = response.socket !== null
        if (isNext && answerHot(request, response)) return
        connections.inTurn(request.socket, response, () => {
          if (isNext || !answerHot(request, response)) (router as Handler)(request, response)
        })
      }),
  })
  app.removeAllContentTypeParsers()
  app.addHook('onRequest', (request, reply, done) => {
    // writes are answered here, ahead of all that would read a body
    if (isRead(request.method)) done()
    else void answer(request, reply)
  })
  app.route({ method: ['GET', 'HEAD'], url: '*', handler: answer })
  app.setNotFoundHandler(answer)
  const server = app.server as Server

  function answerHot(request: IncomingMessage, response: ServerResponse): boolean {
    hot.follow(table())
    return hot.answer(request, response)
  }

  async function answer(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    reply.hijack()
    const exchange = createExchange(request.raw, reply.raw, request.id)
    reply.raw.once('close', () => report(exchange))
    try {
      await serveOrRefuse(exchange)
    } catch (error) {
      fail(exchange, error)
    }
  }

  async function serveOrRefuse(exchange: Exchange): Promise<void> {
    const { request, response } = exchange
    if (!isRead(request.method)) {
      const refusal = new OciError('UNSUPPORTED')
      exchange.failure = refusal
      refuse(request, response, refusal)
    } else {
      closeAfterLongBody(request, response)
      await serve(exchange, serving)
    }
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

function isRead(method: string | undefined): boolean {
  return method === 'GET' || method === 'HEAD'
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
