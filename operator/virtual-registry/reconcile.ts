import { type RegistryRoute, registryRevision } from '../../proxy/routes.ts'
import { VirtualRegistry } from '../api/virtual-registry.ts'
import { observeCustom, type Seen, type SeenDocument } from '../observed.ts'
import type { ApiError } from '../runtime/api-error.ts'
import type { Verdict } from '../runtime/conditions.ts'
import {
  isConflict,
  isOnItsWay,
  type Means,
  mayPass,
  notWritten,
  refusalOf,
  saidBefore,
  settleDocument,
  settleStatus,
  unwritten,
} from '../settle.ts'
import { notAccepted } from '../status.ts'
import { groundsOf, heldClaim, type World } from '../world.ts'
import type { Contender } from './contest.ts'
import type { Grants } from './grants.ts'
import { planRegistry, type RegistryPlan, registryStatus, type UpstreamState } from './plan.ts'

export interface RegistryMeans extends Means {
  readonly grants: Grants
  readonly externalUrl: string | undefined
  upstreamState(key: string): UpstreamState
}

/** Brings the document and the status of one VirtualRegistry to what they should be. */
export function createRegistryReconciler(means: RegistryMeans): (key: string) => Promise<void> {
  const { world, cluster, delivery, patience, grants, externalUrl, upstreamState, now, tell } = means

  function planOf(registry: Seen<VirtualRegistry>, stored: SeenDocument | undefined) {
    const previous = stored?.document?.route
    const { namespace } = registry.metadata
    return planRegistry({
      registry,
      upstream: (upstream) => upstreamState(`${namespace}/${upstream}`),
      previous: previous?.kind === 'VirtualRegistry' ? previous : undefined,
      unreadable: stored?.document === undefined ? stored : undefined,
      contenders: contendersOf(registry, world),
      grants,
      externalUrl,
    })
  }

  /** Of an upstream that cannot be written the proxies have an earlier version, or none. */
  function unwrittenOf({ namespace, upstreams }: RegistryRoute): Verdict | undefined {
    for (const { name } of upstreams) {
      const said = unwritten(world.upstreams.get(`${namespace}/${name}`))
      if (said !== undefined) return { ...said, message: `Upstream ${name}: ${said.message}` }
    }
    return undefined
  }

  /** Brings the document to what it should be. `isEarly`: what is to be said of it is better said in a moment. */
  async function deliver(
    key: string,
    registry: Seen<VirtualRegistry>,
    { route, isLeft, verdicts: { Accepted, ResolvedRefs } }: RegistryPlan,
    stored: SeenDocument | undefined,
  ): Promise<{
    readonly action?: string
    readonly programmed: Verdict
    readonly isEarly: boolean
    readonly refusal?: ApiError
  }> {
    if (route === undefined) {
      const nothing = { programmed: notAccepted, isEarly: false }
      if (stored === undefined || isLeft) return nothing
      const refusal = await refusalOf(() => cluster.deleteSecret(stored.metadata))
      if (refusal === undefined) return { ...nothing, action: 'delete document' }
      return { programmed: notWritten(refusal), isEarly: false, refusal }
    }
    const { namespace } = registry.metadata
    const { document, isWritten, refusal } = await settleDocument(means, route, stored)
    if (refusal !== undefined) return { programmed: notWritten(refusal), isEarly: false, refusal }
    const revisions = route.upstreams.map(({ name }) => {
      const found = world.documentOf({ kind: 'Upstream', namespace, name })
      return found?.document?.revision
    })
    const revision = registryRevision(document.revision, revisions)
    const before = saidBefore(registry, 'Programmed')
    const programmed = unwrittenOf(route) ?? delivery.programmed('VirtualRegistry', key, revision, before)
    const isWhole = programmed.status === 'True'
    const others = [Accepted, ResolvedRefs]
    // a conflict has a patience of its own
    const isEarly = !isConflict(Accepted) && isOnItsWay(means, key, { revision, isWhole, others })
    return { ...(isWritten && { action: 'apply document' }), programmed, isEarly }
  }

  return async (key) => {
    const registry = world.registries.get(key)
    if (registry === undefined || registry.metadata.isBeingDeleted) {
      delivery.forget('VirtualRegistry', key) // its document is swept
      patience.end(key)
      return
    }
    const { namespace, name, generation } = registry.metadata
    const stored = world.documentOf({ kind: 'VirtualRegistry', namespace, name })
    const plan = planOf(registry, stored)
    const { action, programmed, isEarly, refusal } = await deliver(key, registry, plan, stored)
    const actions: string[] = action === undefined ? [] : [action]
    if (!isEarly && !mayPass(means, key, registry, plan.verdicts.Accepted)) {
      const status = registryStatus({ registry }, plan, programmed, now())
      const target = {
        seen: registry,
        kind: 'VirtualRegistry' as const,
        cache: world.registries,
        observe: (raw: unknown) => observeCustom(VirtualRegistry, raw),
      }
      actions.push(...(await settleStatus(means, target, status)))
    }
    if (actions.length > 0) tell({ kind: 'VirtualRegistry', namespace, name, generation, actions })
    if (refusal !== undefined) throw refusal
  }
}

/** All whose claims meet with those of this one, or with those of one that does: a chain of them settles as one. */
export function contendersOf(
  registry: Seen<VirtualRegistry>,
  world: Pick<World, 'registries' | 'documents' | 'documentOf' | 'wantedClaim'>,
): Contender[] {
  const found = new Map<string, Contender>()
  const searched = new Set<string>()

  const add = (each: Seen<VirtualRegistry>): void => {
    const { namespace, name, uid, creationTimestamp, isBeingDeleted } = each.metadata
    if (found.has(`${namespace}/${name}`)) return
    const stored = world.documentOf({ kind: 'VirtualRegistry', namespace, name })
    const held = stored && heldClaim(stored)
    const wanted = isBeingDeleted ? undefined : world.wantedClaim(each)
    found.set(`${namespace}/${name}`, { namespace, name, uid, creationTimestamp, held, wanted })
    for (const ground of [...groundsOf(held), ...groundsOf(wanted)]) search(ground)
  }
  const search = (ground: string): void => {
    if (searched.has(ground)) return
    searched.add(ground)
    for (const each of world.registries.select('claim', ground)) add(each)
    for (const stored of world.documents.select('claim', ground)) {
      const { owner } = stored
      const live = owner && world.registries.get(`${owner.namespace}/${owner.name}`)
      if (live !== undefined) add(live)
      else found.set(`document ${stored.metadata.name}`, orphan(stored))
    }
  }
  add(registry)
  return [...found.values()]
}

/** What is served of a registry that is gone holds its place until it is swept. */
function orphan(stored: SeenDocument): Contender {
  const { uid, creationTimestamp } = stored.metadata
  const { namespace, name } = stored.owner! // whoever holds anything says who it is
  return { namespace, name, uid, creationTimestamp, held: heldClaim(stored), wanted: undefined }
}
