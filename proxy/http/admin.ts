import { type FastifyInstance, fastify } from 'fastify'
import type { Metrics } from '../metrics.ts'

export interface AdminOptions {
  /** Undefined when ready, or why not. */
  readonly notReady: () => string | undefined
  /** What it does without for now; it is ready nevertheless. */
  readonly degraded?: () => readonly string[]
  readonly metrics: Pick<Metrics, 'contentType' | 'scrape'>
}

/** What an operator of the process asks, on a listener that no client of the registry reaches. */
export function createAdmin({ notReady, degraded, metrics }: AdminOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    return503OnClosing: false,
    forceCloseConnections: true,
    requestTimeout: 10_000,
  })
  app.get('/livez', async () => 'ok\n')
  app.get('/readyz', async (_request, reply) => {
    const reason = notReady()
    if (reason !== undefined) return reply.code(503).send(`${reason}\n`)
    const away = degraded?.() ?? []
    return reply.send(away.length === 0 ? 'ok\n' : `degraded: without ${away.join(' and ')}\n`)
  })
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.scrape()))
  return app
}
