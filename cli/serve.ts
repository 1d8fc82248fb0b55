import { randomUUID } from 'node:crypto'
import type { AddressInfo } from 'node:net'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { runSweeps } from '../proxy/cleanup/sweep.ts'
import { createAdmin } from '../proxy/http/admin.ts'
import { createApp } from '../proxy/http/app.ts'
import { serveFills } from '../proxy/http/internal-fills.ts'
import { createChosen } from '../proxy/internal/chosen.ts'
import { createClusterAuth } from '../proxy/internal/cluster-auth.ts'
import { createPeers } from '../proxy/internal/peers.ts'
import type { Served } from '../proxy/internal/served.ts'
import { createLogger, type Log } from '../proxy/log.ts'
import { createMetrics, type Metrics } from '../proxy/metrics.ts'
import type { Observer, SharingEvent } from '../proxy/observer.ts'
import { OciError } from '../proxy/oci/errors.ts'
import { createPull } from '../proxy/pull/create-pull.ts'
import { createRouteTable, type RouteTable } from '../proxy/route-table.ts'
import type { RouteDocuments } from '../proxy/routes.ts'
import { BucketSettingsError } from '../proxy/store/bucket-settings-error.ts'
import { FolderInUseError } from '../proxy/store/folder-lock.ts'
import { openLocalStores } from '../proxy/store/local-stores.ts'
import type { SharedStores, SharedStoresObserver } from '../proxy/store/shared-stores.ts'
import { createUpstreamClient } from '../proxy/upstream/create-upstream-client.ts'
import { parseProxyUrl } from '../proxy/upstream/proxy-choice.ts'
import { formatBanner } from './banner.ts'
import { type Configuration, loadConfiguration } from './config/load.ts'
import { watchConfiguration } from './config/watch.ts'
import { createInternalSide } from './internal-side.ts'
import type { Command } from './main.ts'
import { createRedirectNotice } from './redirects.ts'
import type { RouteFeed } from './route-feed.ts'
import { type Address, readServeSettings, type ServeSettings, serveFlags } from './serve-settings.ts'
import { orStartError, refusedBySystem, StartError } from './start-error.ts'
import { readVersion, untilToldToStop } from './starting.ts'
import { tellSweeps } from './sweeps.ts'

export const serveCommand: Command = {
  summary: 'runs everything in one process, over files and SQLite',
  flags: serveFlags,
  run(values, environment) {
    const settings = readServeSettings(values)
    return serve(settings, environment, () => openFileFeed(settings.config))
  },
}

const monotonicNow = () => performance.now()
const flushMs = 5_000
/** What Redis loses with its data is at most the counts of so long. */
const snapshotMs = 5 * 60_000

/** Serves pulls until the process is told to stop; resolves with its exit code. Throws StartError. */
export async function serve(
  settings: ServeSettings,
  environment: NodeJS.ProcessEnv,
  openFeed: () => Promise<RouteFeed>,
): Promise<number> {
  await run(settings, environment, await openFeed())
  return 0
}

async function run(settings: ServeSettings, environment: NodeJS.ProcessEnv, feed: RouteFeed): Promise<void> {
  const stopped = untilToldToStop()
  const version = readVersion()
  // what is open is closed in the end, the last first, also of a start that fails half-way
  await using open = new AsyncDisposableStack()
  const metrics = createMetrics({ version })
  open.defer(() => metrics.close())
  const log = createLogger({
    level: settings.logLevel,
    format: settings.logFormat ?? (process.stdout.isTTY ? 'pretty' : 'json'),
  })
  const observer: Observer & SharedStoresObserver = {
    ...metrics,
    sharing: (event) => tellSharing(log, metrics, event),
    storeFailure: (operation, error) => tellStoreFailure(log, metrics, operation, error),
    storeAvailable: (store, available, error) => tellAvailability(log, metrics, store, available, error),
  }
  const data = resolve(settings.data)
  const proxyUrl = proxyOf(environment)
  const stores = await openStores(data, settings, observer, metrics)
  open.defer(() => stores.close())

  const plainClient = createUpstreamClient({
    observer,
    now: Date.now,
    version,
    addressPolicy: {
      deny: settings.denyUpstreamCidrs,
      allow: settings.allowUpstreamCidrs,
      denyNow: settings.denyUpstreamsNow,
    },
    proxyUrl,
    noProxy: environment.NO_PROXY ?? environment.no_proxy,
  })
  open.defer(() => plainClient.close())
  const { blobs, documents, index } = stores
  const chosen = createChosen(stores.leases, randomUUID())
  let notReady: string | undefined = 'starting'
  const internal =
    settings.internal &&
    createInternalSide({
      keys: settings.internal.keys,
      ...{ version, index, client: plainClient, isChosen: chosen.isChosen },
      readiness: () => ({ isReady: notReady === undefined, isDraining: notReady === 'draining' }),
    })
  const client = internal?.client ?? plainClient
  const auth = settings.internal && createClusterAuth(settings.internal.keys)
  let internalUrl: string | undefined
  const pull = createPull({
    ...{ blobs, documents, index, snapshots: stores.snapshots },
    client,
    observer,
    now: Date.now,
    monotonicNow,
    leases: stores.leases,
    replicas: auth &&
      stores.leases && {
        leases: stores.leases,
        peers: createPeers({ auth, now: Date.now, url: () => internalUrl }),
      },
  })
  let table = feed.initial ? createRouteTable(feed.initial) : unknownRoutes
  if (internal && auth) serveFills(internal.app, { brought: pull.brought, auth, now: Date.now })
  internal?.take(feed.initiallyServed)
  const app = createApp({ pull, table: () => table, log, metrics })
  open.defer(async () => {
    await app.drain(0)
  })
  const admin = createAdmin({ notReady: () => notReady, degraded: stores.degraded, metrics })
  open.defer(() => admin.close())

  const listen = await orStartError(app.listen(settings.listen), '--listen', settings.listen)
  const adminListen = await orStartError(
    listenOn(admin, settings.adminListen),
    '--admin-listen',
    settings.adminListen,
  )
  if (internal && settings.internal) {
    const { listen: where } = settings.internal
    open.defer(() => internal.app.close())
    const address = await orStartError(listenOn(internal.app, where), '--internal-listen', where)
    internalUrl = settings.internal.url ?? urlOf(address)
    log.logger.info({ internal: address }, 'other parts of this installation may ask')
  }
  const shown = feed.isShown ? table : undefined
  const { externalUrl } = settings
  const place = placeOf(data, settings)
  process.stderr.write(formatBanner({ table: shown, listen, admin: adminListen, externalUrl, data: place }))
  notReady = feed.initial ? undefined : 'no routes are known yet'

  const tellOfRedirects = createRedirectNotice(log, settings.shared !== undefined)
  tellOfRedirects(feed.initial)

  const ending = new AbortController()
  const take = (documents: RouteDocuments, served?: Served) => {
    client.retain(documents.upstreams)
    table = createRouteTable(documents)
    tellOfRedirects(documents)
    if (!ending.signal.aborted) notReady = undefined
    internal?.take(served)
  }
  internal?.changed()
  void chosen.run(ending.signal)
  internal?.run(ending.signal)
  const sweepable = { stores: stores.sweepable, maySweepShared: chosen.isChosen }
  void runSweeps({ ...sweepable, now: Date.now, monotonicNow }, tellSweeps(log, metrics), ending.signal)
  feed.follow(take, { log, metrics, signal: ending.signal })
  const flushing = setInterval(() => void pull.flush(), flushMs)
  const snapshotting = setInterval(() => void pull.snapshot(), snapshotMs)

  const signal = await stopped
  const { drainDelaySeconds, drainSeconds } = settings
  log.logger.info({ signal, drainDelaySeconds, drainSeconds }, 'draining')
  notReady = 'draining'
  internal?.changed()
  ending.abort()
  app.startDraining()
  await sleep(drainDelaySeconds * 1000)
  const drainMs = drainSeconds * 1000
  const served = app.drain(drainMs)
  await pull.drain(drainMs, served)
  clearInterval(flushing)
  clearInterval(snapshotting)
  const clean = await served
  await open.disposeAsync()
  log.logger.info({ clean }, 'stopped')
  log.flushSync()
}

function proxyOf(environment: NodeJS.ProcessEnv): string | undefined {
  try {
    return parseProxyUrl(environment.HTTPS_PROXY ?? environment.https_proxy)
  } catch {
    throw new StartError(['HTTPS_PROXY: is not the URL of an http proxy, such as http://proxy.example:3128'])
  }
}

/** Until there are routes it cannot be said that a name is unknown. */
const unknownRoutes: RouteTable = {
  documents: { upstreams: [], registries: [] },
  registries: [],
  find() {
    throw new OciError('UNAVAILABLE')
  },
}

/** The routes of files, taken whole or not at all; at the start there must be some. */
async function openFileFeed(paths: readonly string[]): Promise<RouteFeed> {
  const initial = await loadConfiguration(paths)
  if (initial.problems) throw new StartError(initial.problems)
  return {
    initial: initial.documents,
    isShown: true,
    follow(take, { log, metrics, signal }) {
      metrics.configReloaded(true, new Date())
      watchConfiguration(paths, {
        since: initial.fingerprint,
        signal,
        onChange: (configuration) => {
          metrics.configReloaded(configuration.documents !== undefined, new Date())
          const documents = takeConfiguration(configuration, log)
          if (documents) take(documents)
        },
      })
    },
  }
}

function takeConfiguration({ documents, problems }: Configuration, log: Log): RouteDocuments | undefined {
  if (documents) {
    log.logger.info(
      { registries: documents.registries.length, upstreams: documents.upstreams.length },
      'configuration loaded',
    )
  } else log.logger.error({ problems }, 'configuration refused; the last good one is served on')
  return documents
}

async function openStores(
  data: string,
  { dataMaxBytes, shared }: ServeSettings,
  observer: SharedStoresObserver,
  metrics: Pick<Metrics, 'storeAvailable'>,
): Promise<SharedStores> {
  const [flag, folder] = shared ? ['--spool', resolve(shared.spool.folder)] : ['--data', data]
  try {
    if (shared) {
      // Only then: the clients of S3 and Redis cost a start without them time and memory.
      const { openSharedStores } = await import('../proxy/store/shared-stores.ts')
      for (const store of ['redis', 's3'] as const) metrics.storeAvailable(store, true)
      return await openSharedStores({ ...shared, observer })
    }
    return {
      ...(await openLocalStores({ folder: data, maxBytes: dataMaxBytes, observer })),
      leases: undefined,
      snapshots: undefined,
      degraded: () => [],
    }
  } catch (error) {
    if (error instanceof FolderInUseError) throw new StartError([`${flag}: ${error.message}`])
    if (error instanceof BucketSettingsError) throw new StartError([`--s3-bucket: ${error.message}`])
    throw refusedBySystem(error, flag, folder)
  }
}

/** What a person knows the cache by. */
function placeOf(data: string, { shared }: ServeSettings): string {
  if (!shared) return data
  const { redis, s3, spool } = shared
  const nodes = redis.nodes.map(({ host, port }) => `${host}:${port}`).join(', ')
  return `bucket ${s3.bucket} and Redis at ${nodes}; copies of it in ${resolve(spool.folder)}`
}

async function listenOn(app: ReturnType<typeof createAdmin>, { host, port }: Address): Promise<AddressInfo> {
  await app.listen({ host, port })
  return app.server.address() as AddressInfo
}

function urlOf({ address, port, family }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
}

function tellStoreFailure(log: Log, metrics: Observer, operation: string, error: unknown): void {
  metrics.storeFailure(operation, error)
  log.logger.error({ err: error, operation }, 'the cache could not be written or read; pulls go on without')
}

/** Leading and following are daily business; a leader that is lost is what explains a slow pull. */
function tellSharing(log: Log, metrics: Observer, event: SharingEvent): void {
  metrics.sharing(event)
  if (event.step === 'goes-apart') return void log.logger.warn(event, cannotReach)
  const level = event.step === 'leads' || event.step === 'follows' ? 'debug' : 'info'
  log.logger[level](event, 'a replica takes its part in a shared fill')
}

const cannotReach =
  'the replica that brings this blob lives and cannot be read from, so the upstream is asked once more; look at its --internal-url, at network policies, and whether all replicas have one cluster key and the same time'

function tellAvailability(
  log: Log,
  metrics: Metrics,
  store: string,
  available: boolean,
  error: unknown,
): void {
  metrics.storeAvailable(store, available)
  if (available) log.logger.info({ store }, 'a shared store is back')
  else log.logger.warn({ store, err: error }, 'a shared store is away; pulls go on without')
}
