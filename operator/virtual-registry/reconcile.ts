import { registryRevision } from '../../proxy/routes.ts'
import { VirtualRegistry } from '../api/virtual-registry.ts'
import { observeCustom, type Seen, type SeenDocument } from '../observed.ts'
import { isOnItsWay, type Means, saidBefore, settleDocument, settleStatus } from '../settle.ts'
import { notAccepted } from '../status.ts'
import { groundsOf, heldClaim, type World } from '../world.ts'
import type { Contender } from './contest.ts'
import type { Grants } from './grants.ts'
import { planRegistry, registryStatus, type UpstreamState, wantedClaim } from './plan.ts'

export interface RegistryMeans extends Means {
  readonly grants: Grants
  readonly externalUrl: string | undefined
  upstreamState(key: string): UpstreamState
}

/** Brings the document and the status of one VirtualRegistry to what they should be. */
export function createRegistryReconciler(means: RegistryMeans): (key: string) => Promise<void> {
  const { world, cluster, delivery, patience, grants, externalUrl, upstreamState, now, tell } = means

  return async (key) => {
    const registry = world.registries.get(key)
    if (registry === undefined || registry.metadata.isBeingDeleted) {
      delivery.forget('VirtualRegistry', key) // its document is swept
      patience.end(key)
      return
    }
    const { namespace, name, generation } = registry.metadata
    const stored = world.documentOf({ kind: 'VirtualRegistry', namespace, name })
    const previous = stored?.document?.route
    const plan = planRegistry({
      registry,
      upstream: (upstream) => upstreamState(`${namespace}/${upstream}`),
      previous: previous?.kind === 'VirtualRegistry' ? previous : undefined,
      contenders: contendersOf(registry, world, grants),
      grants,
      externalUrl,
    })

    const actions: string[] = []
    const done = () => {
      if (actions.length > 0) tell({ kind: 'VirtualRegistry', namespace, name, generation, actions })
    }
    let programmed = notAccepted
    if (plan.route !== undefined) {
      const { document, isWritten } = await settleDocument(means, plan.route, stored)
      if (isWritten) actions.push('apply document')
      const revisions = plan.route.upstreams.map(({ name: upstream }) => {
        const found = world.documentOf({ kind: 'Upstream', namespace, name: upstream })
        return found?.document?.revision
      })
      const revision = registryRevision(document.revision, revisions)
      programmed = delivery.programmed('VirtualRegistry', key, revision, saidBefore(registry, 'Programmed'))
      const { Accepted, ResolvedRefs } = plan.verdicts
      const isWhole = programmed.status === 'True'
      if (isOnItsWay(means, key, { revision, isWhole, others: [Accepted, ResolvedRefs] })) {
        return done()
      }
    } else if (stored !== undefined) {
      await cluster.deleteSecret(stored.metadata)
      actions.push('delete document')
    }
    const status = registryStatus({ registry }, plan, programmed, now())
    const target = {
      seen: registry,
      kind: 'VirtualRegistry' as const,
      cache: world.registries,
      observe: (raw: unknown) => observeCustom(VirtualRegistry, raw),
    }
    if (await settleStatus(means, target, status)) actions.push('apply status')
    done()
  }
}

/** All whose claims meet with those of this one, or with those of one that does: a chain of them settles as one. */
export function contendersOf(
  registry: Seen<VirtualRegistry>,
  world: Pick<World, 'registries' | 'documents' | 'documentOf'>,
  grants: Grants,
): Contender[] {
  const found = new Map<string, Contender>()
  const searched = new Set<string>()

  const add = (each: Seen<VirtualRegistry>): void => {
    const { namespace, name, uid, creationTimestamp, isBeingDeleted } = each.metadata
    if (found.has(`${namespace}/${name}`)) return
    const stored = world.documentOf({ kind: 'VirtualRegistry', namespace, name })
    const held = stored && heldClaim(stored)
    const wanted = isBeingDeleted ? undefined : wantedClaim(each, grants)
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
function orphan({ metadata, owner, document }: SeenDocument): Contender {
  const { uid, creationTimestamp } = metadata
  const { namespace, name } = owner ?? document!.route
  return { namespace, name, uid, creationTimestamp, held: heldClaim({ document }), wanted: undefined }
}
