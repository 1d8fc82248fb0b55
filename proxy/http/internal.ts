import type { Server } from 'node:http'
import { type FastifyInstance, type FastifyReply, fastify } from 'fastify'
import type { ClusterAuth } from '../internal/cluster-auth.ts'

export interface InternalOptions {
  readonly auth: ClusterAuth
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** A connection on which nothing moves for so long is closed: longer than anybody waits for a change of the state. */
  readonly idleTimeoutMs?: number
}

/**
 * What the programs of one installation ask each other, on a listener of its own. Who has no cluster key learns nothing
 * from it, not even what is there. Nothing with a body is taken: the signature covers method, path, query and time alone.
 */
export function createInternal({ auth, now, idleTimeoutMs = 120_000 }: InternalOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    exposeHeadRoutes: false,
    return503OnClosing: false,
    forceCloseConnections: true,
    requestTimeout: 10_000,
    connectionTimeout: idleTimeoutMs,
    keepAliveTimeout: 75_000,
    frameworkErrors: (_error, _request, reply) => void (reply as FastifyReply).code(401).send(),
  })
  const server = app.server as Server
  server.maxConnections = 1_000
  app.removeAllContentTypeParsers()
  app.addHook('onRequest', async (request, reply) => {
    const { method, url, headers } = request.raw
    if (!auth.verify(headers.authorization, method ?? '', url ?? '', now())) return reply.code(401).send()
  })
  app.setErrorHandler((_error, _request, reply) => reply.code(500).send())
  app.setNotFoundHandler((_request, reply) => reply.code(404).send())
  return app
}
