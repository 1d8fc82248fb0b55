import type { RegistryRoute, RouteDocuments, UpstreamRoute } from '../proxy/routes.ts'
import type { ConfigMap, Secret } from './api/core.ts'
import type { Upstream } from './api/upstream.ts'
import type { VirtualRegistry } from './api/virtual-registry.ts'
import type { Problem } from './problem.ts'
import { compileUpstream } from './upstream/compile.ts'
import { settleClaims, tellOverlap } from './virtual-registry/claims.ts'
import { compileRegistry } from './virtual-registry/compile.ts'

export interface Resources {
  readonly upstreams: readonly Upstream[]
  readonly virtualRegistries: readonly VirtualRegistry[]
  readonly secrets: readonly Secret[]
  readonly configMaps: readonly ConfigMap[]
}

export interface Compiled {
  /** What can be served in spite of the problems. */
  readonly documents: RouteDocuments
  readonly problems: readonly Problem[]
}

/** Whole sets of resources to a whole set of routes. Of two registries that want the same path the earlier gets it. */
export function compileResources(resources: Resources): Compiled {
  const secrets = byKey(resources.secrets)
  const configMaps = byKey(resources.configMaps)
  const known = byKey(resources.upstreams)

  const upstreams = resources.upstreams.map((upstream) => {
    const { namespace } = upstream.metadata
    return compileUpstream(upstream, {
      secret: (name) => secrets.get(`${namespace}/${name}`),
      configMap: (name) => configMaps.get(`${namespace}/${name}`),
    })
  })
  const registries = resources.virtualRegistries.map((registry) =>
    compileRegistry(registry, (name) => known.has(`${registry.metadata.namespace}/${name}`)),
  )
  const wanted = registries.map(({ route }) => route).filter((route) => route !== undefined)
  const conflicts = settleClaims(wanted)
  const losers = new Set(conflicts.map(({ claim }) => claim))

  return {
    documents: {
      upstreams: upstreams.map(({ route }) => route).filter(isRoute),
      registries: wanted.filter((route) => !losers.has(route)),
    },
    problems: [
      ...upstreams.flatMap(({ problems }) => problems),
      ...registries.flatMap(({ problems }) => problems),
      ...conflicts.map(conflictProblem),
    ],
  }
}

function conflictProblem(conflict: ReturnType<typeof settleClaims<RegistryRoute>>[number]): Problem {
  const { claim, holder } = conflict
  const { kind, namespace, name } = claim
  const owner = `${holder.namespace}/${holder.name}`
  if ('host' in conflict) {
    const path = ['spec', 'hosts', claim.hosts.indexOf(conflict.host)]
    return {
      kind,
      namespace,
      name,
      path,
      reason: 'HostConflict',
      message: `${conflict.host} is a host of ${owner}`,
    }
  }
  const message = tellOverlap(claim.path, holder.path, owner)
  return { kind, namespace, name, path: ['spec', 'path'], reason: 'PathConflict', message }
}

function isRoute(route: UpstreamRoute | undefined): route is UpstreamRoute {
  return route !== undefined
}

function byKey<T extends { metadata: { namespace: string; name: string } }>(
  objects: readonly T[],
): ReadonlyMap<string, T> {
  return new Map(objects.map((object) => [`${object.metadata.namespace}/${object.metadata.name}`, object]))
}
