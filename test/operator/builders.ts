import { ConfigMap, Secret } from '../../operator/api/core.ts'
import { apiVersion } from '../../operator/api/object.ts'
import { Upstream } from '../../operator/api/upstream.ts'
import { VirtualRegistry } from '../../operator/api/virtual-registry.ts'
import type { Lookup } from '../../operator/upstream/tls.ts'

export function upstream(spec: Record<string, unknown>, metadata: Record<string, unknown> = {}): Upstream {
  return Upstream.parse({
    apiVersion,
    kind: 'Upstream',
    metadata: { name: 'hub', namespace: 'default', ...metadata },
    spec: { url: 'https://registry.example.com', ...spec },
  })
}

export function registry(
  spec: Record<string, unknown>,
  metadata: Record<string, unknown> = {},
): VirtualRegistry {
  return VirtualRegistry.parse({
    apiVersion,
    kind: 'VirtualRegistry',
    metadata: { name: 'all', namespace: 'default', ...metadata },
    spec: { upstreams: [{ upstreamRef: { name: 'hub' } }], ...spec },
  })
}

export function secret(rest: Record<string, unknown>, annotations: Record<string, string> = {}): Secret {
  return Secret.parse({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'login', namespace: 'default', annotations },
    ...rest,
  })
}

export function basicAuth(
  stringData: Record<string, string>,
  annotations: Record<string, string> = {},
): Secret {
  return secret({ type: 'kubernetes.io/basic-auth', stringData }, annotations)
}

export function dockerConfig(auths: unknown, annotations: Record<string, string> = {}): Secret {
  const stringData = { '.dockerconfigjson': JSON.stringify({ auths }) }
  return secret({ type: 'kubernetes.io/dockerconfigjson', stringData }, annotations)
}

export function configMap(data: Record<string, string>): ConfigMap {
  const metadata = { name: 'corp-ca', namespace: 'default' }
  return ConfigMap.parse({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data })
}

/** Everything goes by the names that the builders give. */
export function lookupOf(...objects: (Secret | ConfigMap)[]): Lookup {
  return {
    secret: (name) =>
      objects.filter((each) => each.kind === 'Secret').find((each) => each.metadata.name === name),
    configMap: (name) =>
      objects.filter((each) => each.kind === 'ConfigMap').find((each) => each.metadata.name === name),
  }
}
