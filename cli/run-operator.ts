import { randomBytes, randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import type { Delivery } from '../operator/delivery.ts'
import { runOperator } from '../operator/operator.ts'
import { createFleet } from '../operator/proxies/fleet.ts'
import { followProxies } from '../operator/proxies/follow.ts'
import { createCluster } from '../operator/runtime/cluster.ts'
import { createEventRecorder, createEventSink } from '../operator/runtime/events.ts'
import { createKubernetesClient, type KubernetesClient } from '../operator/runtime/kubernetes-client.ts'
import { createLeaderElection } from '../operator/runtime/leader-election.ts'
import { createLeaseClient } from '../operator/runtime/lease-client.ts'
import { type Claim, createOperatorScope, leaseLister } from '../operator/runtime/operator-scope.ts'
import { createRuntimeMetrics } from '../operator/runtime/runtime-metrics.ts'
import { endpointSliceSource } from '../operator/runtime/sources.ts'
import { createWorld, type World } from '../operator/world.ts'
import { createAdmin } from '../proxy/http/admin.ts'
import { createClusterAuth } from '../proxy/internal/cluster-auth.ts'
import { createLogger, type Log } from '../proxy/log.ts'
import type { OperatorSettings } from './operator-settings.ts'
import { orStartError } from './start-error.ts'
import { readVersion, untilToldToStop } from './starting.ts'

const leaseName = 'headwater-operator'

/**
 * How much the heap may grow beyond what is alive before all of it is collected. V8 would have it double or more, as it is
 * used to machines of which nothing else wants the memory; the operator's work is short and over soon.
 */
const heapGrowingPercent = 30

/** After a signal, what the API server has not answered by then is given up, and the Lease with it runs out by itself. */
const longestStopMs = 8000
/** Events are not worth a hand-over that takes long. */
const longestFlushMs = 1500

/** Ends the process: with 1 when the Lease was lost, or another operator watches the same. Throws StartError. */
export async function runOperatorProcess(settings: OperatorSettings): Promise<never> {
  const { kubeConfig, namespace, routesNamespace, watchNamespaces, grants, externalUrl } = settings
  setFlagsFromString(`--heap-growing-percent=${heapGrowingPercent}`)
  const stopped = untilToldToStop()
  const version = readVersion()
  const log = createLogger({
    level: settings.logLevel,
    format: settings.logFormat ?? (process.stdout.isTTY ? 'pretty' : 'json'),
  })
  const metrics = createRuntimeMetrics({ version, leaseName })
  const identity = `${hostname()}_${randomUUID()}`
  const client = createKubernetesClient({
    kubeConfig,
    userAgent: `headwater-operator/${version}`,
    observe: metrics.apiRequest,
  })
  const world = createWorld({ client, routesNamespace, watchNamespaces, grants, ...tellReads(log) })
  const scope = createOperatorScope({
    list: leaseLister(client.coordination, leaseName),
    namespace,
    watched: watchNamespaces,
    onWait: (other) => log.logger.info({ other }, 'looking whether another operator watches the same'),
    onFailure: (error) =>
      log.logger.warn(
        { err: error },
        'the Leases of other operators cannot be read; nothing is written until then',
      ),
  })
  const election = createLeaderElection({
    leases: createLeaseClient(client.coordination, { namespace, name: leaseName }),
    identity,
    annotations: scope.annotations,
    onHolder: (holder) => {
      metrics.leading(holder === identity)
      log.logger.info({ holder, leading: holder === identity }, 'the Lease has a holder')
    },
    onFailure: (error) => log.logger.warn({ err: error }, 'the Lease could not be read or written'),
  })
  const mayWrite = election.isLeading
  const events = createEventRecorder({
    sink: createEventSink(client.events),
    controller: 'headwater.dev/operator',
    instance: identity,
    mayWrite,
    onFailure: (error) => log.logger.warn({ err: error }, 'an event could not be written'),
  })

  let isStopping = false
  const admin = createAdmin({
    notReady: () => {
      if (isStopping) return 'stopping'
      const missing = world.unsynced()
      return missing.length === 0 ? undefined : `not read yet: ${missing.join(', ')}`
    },
    metrics,
  })
  await orStartError(admin.listen(settings.adminListen), '--admin-listen', settings.adminListen)
  const ending = new AbortController()
  void stopped.then((signal) => {
    isStopping = true
    log.logger.info({ signal }, 'stopping')
    ending.abort()
    setTimeout(() => client.close(), longestStopMs).unref()
  })
  const watched = watchNamespaces.length === 0 ? 'all namespaces' : watchNamespaces
  const listening = admin.addresses()[0]
  log.logger.info({ version, watched, routesNamespace, admin: listening }, 'started')

  const reading = new AbortController()
  const read = world.run(reading.signal)
  void world.synced.then(() => tellUnwatched(world, log))
  let rival: Claim | undefined
  const outcome = await election.run(async (signal) => {
    rival = await scope.settle(signal)
    if (rival !== undefined || signal.aborted) return
    const delivery = startAsking(settings, client, log, signal)
    await runOperator(
      {
        world,
        ...(delivery && { delivery }),
        cluster: createCluster({ client, routesNamespace, mayWrite, signal }),
        events,
        grants,
        externalUrl,
        now: () => new Date(),
        newRevision: () => randomBytes(12).toString('hex'),
        tell: (fields) => log.logger.info(fields, 'reconciled'),
        onError: (controller, key, error) =>
          log.logger.error({ err: error, controller, key }, 'could not be reconciled; it is tried again'),
        metrics,
      },
      signal,
    )
    await Promise.race([events.flush(), sleep(longestFlushMs, undefined, { ref: false })])
  }, ending.signal)
  if (outcome === 'lost') {
    log.logger.error('the Lease is lost: somebody else may lead now')
    log.flushSync()
    process.exit(1) // at once: what is under way must not end
  }
  if (rival !== undefined) log.logger.error(rivalMessage(rival))
  reading.abort()
  client.close()
  await read
  await admin.close()
  log.logger.info('stopped')
  log.flushSync()
  process.exit(rival === undefined ? 0 : 1) // a connection whose handshake is never answered would hold it
}

function rivalMessage({ namespace, holder, watched }: Claim): string {
  const what = watched.length === 0 ? 'all namespaces' : watched.join(', ')
  return `the operator of the installation in namespace ${namespace} (${holder}) watches ${what}; two must not write the same statuses: give each its own --watch-namespace, or stop one`
}

/** What is known of the proxies, kept up to date until the signal is aborted; undefined when they are not to be asked. */
function startAsking(
  { proxies, namespace }: OperatorSettings,
  client: KubernetesClient,
  log: Log,
  signal: AbortSignal,
): Delivery | undefined {
  if (proxies === undefined) return undefined
  const { service, urls, keys } = proxies
  const fleet = createFleet({ now: () => performance.now() })
  const options = {
    ...{ fleet, urls },
    sign: createClusterAuth(keys).sign,
    slices: service === undefined ? undefined : endpointSliceSource(client, { namespace, service }),
    onTrouble: (proxy: string, trouble: string | undefined) =>
      trouble === undefined
        ? log.logger.info({ proxy }, 'a proxy says what it serves')
        : log.logger.warn({ proxy, trouble }, 'a proxy cannot be asked what it serves'),
    ...tellReads(log),
  }
  void followProxies(options, signal)
  return fleet
}

/** Nothing stops it, and whoever took a namespace from the flags may think so. */
function tellUnwatched(world: World, log: Log): void {
  const found = world.documents.values().flatMap(({ owner }) => owner?.namespace ?? [])
  const unwatched = found.filter((namespace) => !world.isInScope(namespace))
  if (unwatched.length === 0) return
  const namespaces = [...new Set(unwatched)].toSorted().slice(0, 100)
  log.logger.warn(
    { documents: unwatched.length, namespaces },
    'these namespaces are not watched, and what is served of them is served on; delete its documents if it should not be',
  )
}

function tellReads(log: Log) {
  return {
    onFailure: (source: string, error: unknown) =>
      log.logger.warn({ err: error, source }, 'cannot be read; what is known stays'),
    onRecovery: (source: string) => log.logger.info({ source }, 'can be read again'),
  }
}
