import { type FastifyInstance, fastify } from 'fastify'
import type { Metrics } from '../metrics.ts'

export interface AdminOptions {
  /** Undefined when ready, or why not. */
  readonly notReady: () => string | undefined
  readonly metrics: Pick<Metrics, 'contentType' | 'scrape'>
}

/** What an operator of the process asks, on a listener that no client of the registry reaches. */
export function createAdmin({ notReady, metrics }: AdminOptions): FastifyInstance {
  const app = fastify({
    logger: false,
    return503OnClosing: false,
    forceCloseConnections: true,
    requestTimeout: 10_000,
  })
  app.get('/livez', async () => 'ok\n')
  app.get('/readyz', async (_request, reply) => {
    const reason = notReady()
    return reply.code(reason === undefined ? 200 : 503).send(`${reason ?? 'ok'}\n`)
  })
  app.get('/metrics', async (_request, reply) => reply.type(metrics.contentType).send(await metrics.scrape()))
  return app
}
