import { lookup } from 'node:dns/promises'
import { mkdir } from 'node:fs/promises'
import { isIP } from 'node:net'
import { join, resolve } from 'node:path'
import { createKubernetesClient } from '../operator/runtime/kubernetes-client.ts'
import { secretSource } from '../operator/runtime/sources.ts'
import { servedOf } from '../proxy/internal/served.ts'
import type { Log } from '../proxy/log.ts'
import { documentsOf, type RouteSet } from '../proxy/route-set.ts'
import { routeSecretType } from '../proxy/routes.ts'
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
  const denied = [...loopback, ...(await addressesOf(cluster))]
  return serve(
    { ...settings, denyUpstreamCidrs: [...settings.denyUpstreamCidrs, ...denied] },
    environment,
    () => openFeed(cluster, resolve(settings.data)),
  )
}

/** What whoever may write an Upstream must not reach through a proxy; metadata services never are reached. */
const loopback = ['127.0.0.0/8', '::1/128']

/** Of the API server; none when its name cannot be resolved now. */
async function addressesOf({ kubeConfig }: ClusterSettings): Promise<string[]> {
  const { hostname } = new URL(kubeConfig.getCurrentCluster()!.server)
  const host = hostname.replace(/^\[|\]$/g, '')
  const addresses =
    isIP(host) > 0
      ? [host]
      : (await lookup(host, { all: true }).catch(() => [])).map(({ address }) => address)
  return addresses.map((address) => `${address}/${isIP(address) === 6 ? 128 : 32}`)
}

async function openFeed({ kubeConfig, routesNamespace }: ClusterSettings, data: string): Promise<RouteFeed> {
  await mkdir(data, { recursive: true })
  const lastGood = createLastGood(join(data, 'routes.json'))
  const last = await lastGood.read()
  const client = createKubernetesClient({ kubeConfig, userAgent: `headwater-proxy/${readVersion()}` })
  const source = secretSource(client, routeSecretType, { namespace: routesNamespace })

  return {
    initial: last && documentsOf(last),
    initiallyServed: last && servedOf(last, []),
    isShown: false,
    follow(take, { log, metrics, signal }) {
      const told = createTeller(log)
      signal.addEventListener('abort', client.close, { once: true })
      void watchRoutes({
        source,
        last: last ?? new Map(),
        signal,
        onFailure: (error) =>
          log.logger.warn(
            { err: error, routesNamespace },
            'the routes cannot be read; the last ones are served on',
          ),
        onRecovery: () => log.logger.info({ routesNamespace }, 'the routes can be read again'),
        async onSet(set) {
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
