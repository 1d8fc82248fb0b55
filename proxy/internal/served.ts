import type { NamedDocuments, RouteSet } from '../route-set.ts'
import { type ProxyState, registryRevision, type UpstreamRoute } from '../routes.ts'

/** Of which documents what is served is made, and of each upstream what it is known by. */
export interface Served extends Pick<ProxyState, 'registries' | 'upstreams' | 'problems'> {
  readonly used: readonly { readonly route: UpstreamRoute; readonly revision: string }[]
}

const longestReason = 200

/** The revisions of one whole set, by `<namespace>/<name>`. */
export function servedOf(taken: NamedDocuments, problems: RouteSet['problems']): Served {
  const used = [...taken.values()].flatMap(({ route, revision }) =>
    route.kind === 'Upstream' ? [{ route, revision }] : [],
  )
  const revisions = new Map(used.map(({ route, revision }) => [`${route.namespace}/${route.name}`, revision]))
  const registries: Record<string, string> = {}
  for (const { route, revision } of taken.values()) {
    if (route.kind !== 'VirtualRegistry') continue
    const parts = route.upstreams.map(({ name }) => revisions.get(`${route.namespace}/${name}`))
    registries[`${route.namespace}/${route.name}`] = registryRevision(revision, parts)
  }
  return {
    used,
    registries,
    upstreams: Object.fromEntries(revisions),
    problems: Object.fromEntries(problems.map(({ name, reason }) => [name, reason.slice(0, longestReason)])),
  }
}
