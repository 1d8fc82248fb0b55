import { compileAnonymousAccess } from './access/access.ts'
import { OciError } from './oci/errors.ts'
import { compileGlobs } from './oci/glob.ts'
import type { Name } from './oci/reference.ts'
import type { RegistryRoute, RouteDocuments, UpstreamRoute } from './routes.ts'

/** A whole set of routes, ready to be looked up. Replaced at once when the documents change. */
export interface RouteTable {
  readonly documents: RouteDocuments
  readonly registries: readonly Registry[]
  /**
   * Which registry a name belongs to, and the repository in it. Throws NAME_UNKNOWN, for any name that is not ours
   * alike; whether the repository is longer than a name may be is for the caller to ask, once it may be told.
   */
  find(name: Name, host: string | undefined): { readonly registry: Registry; readonly repository: string }
}

export interface Registry {
  /** `<namespace>/<name>` */
  readonly key: string
  readonly route: RegistryRoute
  readonly upstreams: readonly RegistryUpstream[]
  /** Decides on the repository as `find` returned it, never on a path. */
  mayPullAnonymously(repository: string): boolean
}

export interface RegistryUpstream {
  readonly upstream: UpstreamRoute
  readonly failurePolicy: 'Fail' | 'Ignore'
  /** Whether the globs let this name, as sent upstream, through. */
  accepts(repository: string): boolean
}

/** One upstream a pull may use, with the repository's name as that upstream is asked for it. */
export interface Eligible {
  readonly upstream: UpstreamRoute
  readonly repository: string
  readonly failurePolicy: 'Fail' | 'Ignore'
}

/** Upstreams in order of priority, less those that the globs or `ns` (empty for none) exclude. */
export function eligibleUpstreams(registry: Registry, repository: string, ns: string): Eligible[] {
  const eligible: Eligible[] = []
  for (const { upstream, failurePolicy, accepts } of registry.upstreams) {
    if (ns !== '' && !upstream.namespaceHosts.includes(ns)) continue
    const sent = repositoryAsSent(upstream, repository)
    if (accepts(sent)) eligible.push({ upstream, repository: sent, failurePolicy })
  }
  return eligible
}

function repositoryAsSent({ defaultRepositoryPrefix: prefix }: UpstreamRoute, repository: string): string {
  return prefix === undefined || repository.includes('/') ? repository : `${prefix}/${repository}`
}

export function createRouteTable(documents: RouteDocuments): RouteTable {
  const upstreams = new Map(
    documents.upstreams.map((upstream) => [`${upstream.namespace}/${upstream.name}`, upstream]),
  )
  const registries = documents.registries.map((route) => compileRegistry(route, upstreams))
  const byPath = new Map(registries.map((registry) => [registry.route.path, registry]))
  const byHost = new Map(
    registries.flatMap((registry) => registry.route.hosts.map((host) => [host, registry] as const)),
  )

  return {
    documents,
    registries,
    find(name, host) {
      const claimed = host === undefined ? undefined : byHost.get(host)
      const found =
        name.registry === undefined ? findByPrefix(byPath, name.repository) : findExact(byPath, name)
      const { registry, repository } =
        claimed && name.registry === undefined ? { registry: claimed, repository: name.repository } : found
      if (registry === undefined || registry.route.serving === 'Disabled') throw new OciError('NAME_UNKNOWN')
      if (repository === '') throw new OciError('NAME_UNKNOWN')
      return { registry, repository }
    },
  }
}

interface Found {
  readonly registry: Registry | undefined
  readonly repository: string
}

function findExact(byPath: ReadonlyMap<string, Registry>, { registry, repository }: Name): Found {
  return { registry: byPath.get(registry ?? ''), repository }
}

/** Paths are prefix-free by components, so the first that fits is the only one. */
function findByPrefix(byPath: ReadonlyMap<string, Registry>, name: string): Found {
  for (let end = name.indexOf('/'); end >= 0; end = name.indexOf('/', end + 1)) {
    const registry = byPath.get(name.slice(0, end))
    if (registry) return { registry, repository: name.slice(end + 1) }
  }
  return { registry: byPath.get(name), repository: '' }
}

function compileRegistry(route: RegistryRoute, upstreams: ReadonlyMap<string, UpstreamRoute>): Registry {
  return {
    key: `${route.namespace}/${route.name}`,
    route,
    mayPullAnonymously: compileAnonymousAccess(route),
    upstreams: route.upstreams.map(({ name, include, exclude, failurePolicy }) => {
      const included = compileGlobs(include)
      const excluded = compileGlobs(exclude)
      return {
        upstream: upstreams.get(`${route.namespace}/${name}`) ?? missingUpstream(route.namespace, name),
        failurePolicy,
        accepts: (repository) => (include.length === 0 || included(repository)) && !excluded(repository),
      }
    }),
  }
}

/** Keeps the place of an upstream whose document is not there: it has no cache and cannot be asked. */
function missingUpstream(namespace: string, name: string): UpstreamRoute {
  return {
    kind: 'Upstream',
    namespace,
    name,
    id: '0'.repeat(64),
    origin: '',
    url: '',
    revalidation: { policy: 'AfterValidity', validitySeconds: 86400 },
    tokenServiceHosts: [],
    namespaceHosts: [],
    mode: 'CacheOnly',
    problem: 'there is no such upstream',
  }
}
