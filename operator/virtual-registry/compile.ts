import type { RegistryRoute } from '../../proxy/routes.ts'
import type { VirtualRegistry } from '../api/virtual-registry.ts'
import { type Finding, missingObject, type Problem } from '../problem.ts'

export interface CompiledRegistry {
  /** Undefined only when the registry has no path to be served at. A missing upstream keeps its place in the route. */
  readonly route: RegistryRoute | undefined
  readonly problems: readonly Problem[]
}

/** The route of a registry by itself; whether its path and hosts are free is for `settleClaims` to say. */
export function compileRegistry(
  { metadata, spec }: VirtualRegistry,
  hasUpstream: (name: string) => boolean,
): CompiledRegistry {
  const { namespace, name } = metadata
  const findings: Finding[] = spec.upstreams.flatMap(({ upstreamRef }, at) => {
    if (hasUpstream(upstreamRef.name)) return []
    const path = ['spec', 'upstreams', at, 'upstreamRef', 'name']
    return [missingObject(path, { kind: 'Upstream', name: upstreamRef.name })]
  })

  const path = spec.path ?? `${namespace}/${name}`
  const isServable = !path.split('/').includes('v2')
  if (!isServable) {
    const message = 'the path would be <namespace>/<name>, in which no component may be "v2"; set another'
    findings.push({ path: ['spec', 'path'], reason: 'InvalidPath', message })
  }
  return {
    route: isServable ? routeOf({ metadata, spec }, path) : undefined,
    problems: findings.map((finding) => ({ kind: 'VirtualRegistry', namespace, name, ...finding })),
  }
}

function routeOf(
  { metadata, spec }: Pick<VirtualRegistry, 'metadata' | 'spec'>,
  path: string,
): RegistryRoute {
  return {
    kind: 'VirtualRegistry',
    namespace: metadata.namespace,
    name: metadata.name,
    path,
    hosts: spec.hosts.map((host) => host.toLowerCase()),
    upstreams: spec.upstreams.map(({ upstreamRef, repositories, failurePolicy }) => ({
      name: upstreamRef.name,
      include: repositories.include,
      exclude: repositories.exclude,
      failurePolicy,
    })),
    access: { rules: spec.access.rules },
    blobDelivery: spec.blobDelivery,
    serving: spec.serving,
  }
}
