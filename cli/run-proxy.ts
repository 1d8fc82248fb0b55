import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { toApiError } from '../operator/runtime/api-error.ts'
import { createKubernetesClient, type KubernetesClient } from '../operator/runtime/kubernetes-client.ts'
import { secretSource } from '../operator/runtime/sources.ts'
import { servedOf } from '../proxy/internal/served.ts'
import type { Log } from '../proxy/log.ts'
import { documentsOf, type RouteSet } from '../proxy/route-set.ts'
import { routeSecretType } from '../proxy/routes.ts'
import { addressesOfEndpoints, addressesOfServer, createApiServerAddresses } from './api-server-addresses.ts'
import { type ClusterSettings, orUsageError, readClusterSettings } from './cluster-settings.ts'
import type { FlagValues } from './flags.ts'
import type { RouteFeed } from './route-feed.ts'
import { createLastGood, type LastGood } from './routes/last-good.ts'
import { watchRoutes } from './routes/watch-routes.ts'
import { serve } from './serve.ts'
import { readServeSettings } from './serve-settings.ts'
import { readVersion } from './starting.ts'

export async function runProxyProcess(values: FlagValues, environment: NodeJS.ProcessEnv): Promise<number> {
  const problems: string[] = []
  const cluster = orUsageError(readClusterSettings(values, environment, problems), problems)
  const settings = readServeSettings(values)
  const { kubeConfig } = cluster
  const { server } = kubeConfig.getCurrentCluster()!
  const client = createKubernetesClient({ kubeConfig, userAgent: `headwater-proxy/${readVersion()}` })
  let log: Log | undefined
  const addresses = createApiServerAddresses({
    ways: [() => addressesOfServer(server), () => addressesOfEndpoints(client).catch(rethrow)],
    onFailure: (error) =>
      log?.logger.warn(
        { err: error },
        'not all addresses of the API server are known: upstreams may have the others',
      ),
    onChange: (denied) =>
      log?.logger.info({ denied }, 'no upstream may have the addresses of the API server'),
  })
  const atFirst = await addressesOfServer(server).catch(() => [])
  const denyUpstreamCidrs = [...settings.denyUpstreamCidrs, ...loopback, ...atFirst]
  return serve({ ...settings, denyUpstreamCidrs, denyUpstreamsNow: addresses.now }, environment, () =>
    openFeed(client, cluster, resolve(settings.data), (context) => {
      log = context.log
      void addresses.follow(context.signal)
    }),
  )
}

/** What whoever may write an Upstream must not reach through a proxy, unless it is allowed. */
const loopback = ['127.0.0.0/8', '::1/128']

function rethrow(error: unknown): never {
  throw toApiError(error)
}

async function openFeed(
  client: KubernetesClient,
  { routesNamespace }: ClusterSettings,
  data: string,
  begin: (context: { readonly log: Log; readonly signal: AbortSignal }) => void,
): Promise<RouteFeed> {
  await mkdir(data, { recursive: true })
  const lastGood = createLastGood(join(data, 'routes.json'))
  const last = await lastGood.read()
  const source = secretSource(client, routeSecretType, { namespace: routesNamespace })

  return {
    initial: last && documentsOf(last),
    initiallyServed: last && servedOf(last, []),
    isShown: false,
    follow(take, { log, metrics, signal }) {
      begin({ log, signal })
      const told = createTeller(log)
      let isServing = last !== undefined
      signal.addEventListener('abort', client.close, { once: true })
      void watchRoutes({
        source,
        last: last ?? new Map(),
        signal,
        onFailure: (error) =>
          log.logger.warn(
            { err: error, routesNamespace },
            isServing
              ? 'the routes cannot be read; the last ones are served on'
              : 'the routes cannot be read; nothing is served before they are',
          ),
        onRecovery: () => log.logger.info({ routesNamespace }, 'the routes can be read again'),
        async onSet(set) {
          isServing = true
          take(set.documents, servedOf(set.taken, set.problems))
          metrics.configReloaded(set.problems.length === 0, new Date())
          told(set)
          await keep(lastGood, set, log)
        },
      })
    },
  }
}

function createTeller(log: Log): (set: RouteSet) => void {
  let known = ''
  return ({ documents, problems }) => {
    const { registries, upstreams } = documents
    log.logger.info({ registries: registries.length, upstreams: upstreams.length }, 'routes taken')
    const said = JSON.stringify(problems)
    if (said === known) return
    known = said
    for (const problem of problems.slice(0, 100))
      log.logger.error(problem, 'a route document cannot be taken')
  }
}

async function keep(lastGood: LastGood, { taken }: RouteSet, log: Log): Promise<void> {
  try {
    await lastGood.write(taken)
  } catch (error) {
    log.logger.error(
      { err: error },
      'the routes could not be kept on the disk; a start without an API server fails',
    )
  }
}
