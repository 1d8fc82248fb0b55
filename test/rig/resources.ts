import { stringify } from 'yaml'

/** The objects of a configuration, as a test wants to write them. */
export type Resource = Readonly<Record<string, unknown>>

const headwater = 'headwater.dev/v1alpha1'

export interface UpstreamOptions {
  readonly url: string
  /** A Secret is written beside it. `http://` on loopback needs no annotation. */
  readonly username?: string
  readonly password?: string
  /** PEM. */
  readonly ca?: string
  readonly clientCertificate?: { readonly cert: string; readonly key: string }
  readonly validitySeconds?: number
  readonly policy?: 'AfterValidity' | 'Always' | 'Never'
  readonly namespace?: string
  /** Anything else of the spec. */
  readonly spec?: Resource
}

/** An Upstream and whatever it refers to. */
export function upstreamResources(name: string, options: UpstreamOptions): Resource[] {
  const { url, username, password, ca, clientCertificate, validitySeconds, policy } = options
  const named = (suffix: string) => meta(`${name}-${suffix}`, options.namespace)
  const revalidation = {
    ...(policy && { policy }),
    ...(validitySeconds !== undefined && { validitySeconds }),
  }
  const tls = {
    ...(ca !== undefined && { caCertificateRef: { kind: 'ConfigMap', name: `${name}-ca`, key: 'ca.crt' } }),
    ...(clientCertificate && { clientCertificateSecretRef: { name: `${name}-client` } }),
  }
  const spec = {
    url,
    ...(username !== undefined && { credentialsSecretRef: { name: `${name}-login` } }),
    ...(Object.keys(tls).length > 0 && { tls }),
    ...(Object.keys(revalidation).length > 0 && { revalidation }),
    ...options.spec,
  }
  const resources: Resource[] = [
    { apiVersion: headwater, kind: 'Upstream', metadata: meta(name, options.namespace), spec },
  ]
  if (username !== undefined) {
    const annotations = { 'headwater.dev/registry-host': new URL(url).host }
    resources.push({
      ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
      metadata: { ...named('login'), annotations },
      stringData: { username, password },
    })
  }
  if (ca !== undefined) {
    resources.push({ apiVersion: 'v1', kind: 'ConfigMap', metadata: named('ca'), data: { 'ca.crt': ca } })
  }
  if (clientCertificate) {
    const { cert, key } = clientCertificate
    resources.push({
      ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls', metadata: named('client') },
      stringData: { 'tls.crt': cert, 'tls.key': key },
    })
  }
  return resources
}

/** A VirtualRegistry over these upstreams in order; anybody may pull unless `spec` says otherwise. */
export function registryResource(
  name: string,
  upstreams: readonly (string | Resource)[],
  { namespace, spec }: { namespace?: string; spec?: Resource } = {},
): Resource {
  const access = { rules: [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'] }] }
  const list = upstreams.map((one) => (typeof one === 'string' ? { upstreamRef: { name: one } } : one))
  return {
    ...{ apiVersion: headwater, kind: 'VirtualRegistry', metadata: meta(name, namespace) },
    spec: { upstreams: list, access, ...spec },
  }
}

export function toYaml(resources: readonly Resource[]): string {
  return resources.map((resource) => stringify(resource)).join('---\n')
}

function meta(name: string, namespace?: string): { name: string; namespace?: string } {
  return { name, ...(namespace !== undefined && { namespace }) }
}
