import type { Upstream } from '../api/upstream.ts'
import type { Seen } from '../observed.ts'
import type { UpstreamState } from '../virtual-registry/plan.ts'
import type { World } from '../world.ts'
import { planUpstream } from './plan.ts'
import type { Lookup } from './tls.ts'

/** Whether upstreams are there and can be asked; worked out once for as long as all that it depends on stays. */
export function createUpstreamStates(
  world: Pick<World, 'upstreams' | 'lookup'>,
): (key: string) => UpstreamState {
  const known = new WeakMap<
    Seen<Upstream>,
    { readonly state: UpstreamState; readonly on: readonly unknown[] }
  >()

  return (key) => {
    const upstream = world.upstreams.get(key)
    if (upstream === undefined || upstream.metadata.isBeingDeleted) return { isThere: false }
    const lookup = world.lookup(upstream.metadata.namespace)
    const on = dependenciesOf(upstream, lookup)
    const earlier = known.get(upstream)
    if (earlier?.on.every((each, index) => each === on[index])) return earlier.state

    const { unusable } = planUpstream({ upstream, lookup, previous: undefined, health: undefined })
    const state = { isThere: true as const, unusable }
    known.set(upstream, { state, on })
    return state
  }
}

function dependenciesOf({ resource }: Seen<Upstream>, lookup: Lookup): readonly unknown[] {
  const { credentialsSecretRef, tls } = resource?.spec ?? {}
  const { caCertificateRef, clientCertificateSecretRef } = tls ?? {}
  return [
    credentialsSecretRef && lookup.secret(credentialsSecretRef.name),
    clientCertificateSecretRef && lookup.secret(clientCertificateSecretRef.name),
    caCertificateRef?.kind === 'Secret' && lookup.secret(caCertificateRef.name),
    caCertificateRef?.kind === 'ConfigMap' && lookup.configMap(caCertificateRef.name),
  ]
}
