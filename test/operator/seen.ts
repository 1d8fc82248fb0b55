import { CleanupPolicy } from '../../operator/api/cleanup-policy.ts'
import { Upstream } from '../../operator/api/upstream.ts'
import { VirtualRegistry } from '../../operator/api/virtual-registry.ts'
import { observeCustom, type Seen } from '../../operator/observed.ts'

type Fields = Readonly<Record<string, unknown>>

const metadata = {
  namespace: 'default',
  uid: 'uid',
  resourceVersion: '7',
  generation: 3,
  creationTimestamp: '2026-01-01T00:00:00Z',
}

/** An Upstream as it comes from the API server. */
export function seenUpstream(spec: Fields, more: Fields = {}, status?: Fields): Seen<Upstream> {
  return observeCustom(Upstream, {
    ...{ apiVersion: 'headwater.dev/v1alpha1', kind: 'Upstream' },
    metadata: { ...metadata, name: 'hub', ...more },
    spec: { url: 'https://registry.example.com', ...spec },
    ...(status === undefined ? {} : { status }),
  })
}

/** A VirtualRegistry as it comes from the API server. */
export function seenRegistry(spec: Fields, more: Fields = {}, status?: Fields): Seen<VirtualRegistry> {
  return observeCustom(VirtualRegistry, {
    ...{ apiVersion: 'headwater.dev/v1alpha1', kind: 'VirtualRegistry' },
    metadata: { ...metadata, name: 'all', ...more },
    spec: { upstreams: [{ upstreamRef: { name: 'hub' } }], ...spec },
    ...(status === undefined ? {} : { status }),
  })
}

/** A CleanupPolicy as it comes from the API server. */
export function seenPolicy(spec: Fields, more: Fields = {}, status?: Fields): Seen<CleanupPolicy> {
  return observeCustom(CleanupPolicy, {
    ...{ apiVersion: 'headwater.dev/v1alpha1', kind: 'CleanupPolicy' },
    metadata: { ...metadata, name: 'weekly', ...more },
    spec,
    ...(status === undefined ? {} : { status }),
  })
}
