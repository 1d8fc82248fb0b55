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
  refusalToWrite,
  saidBefore,
  settleDocument,
  settleStatus,
  untaken,
} from '../settle.ts'
import { notAccepted } from '../status.ts'
import { contendersOf } from './contenders.ts'
import type { Grants } from './grants.ts'
import { planRegistry, type RegistryPlan, registryStatus, type UpstreamState } from './plan.ts'

export interface RegistryMeans extends Means {
  readonly grants: Grants
  readonly externalUrl: string | undefined
  upstreamState(key: string): UpstreamState
}

interface Delivered {
  readonly action?: string
  readonly programmed: Verdict
  readonly isEarly: boolean
  readonly refusal?: ApiError
}

const nothing: Delivered = { programmed: notAccepted, isEarly: false }

/** Brings the document and the status of one VirtualRegistry to what they should be. */
export function createRegistryReconciler(means: RegistryMeans): (key: string) => Promise<void> {
  const { world, cluster, delivery, patience, grants, externalUrl, upstreamState, now, tell } = means
  /** The uids of documents that are being deleted, until that is seen. */
  const leaving = new Set<string>()
  world.documents.onChange((_key, previous, current) => {
    if (previous && previous.metadata.uid !== current?.metadata.uid) leaving.delete(previous.metadata.uid)
  })

  function planOf(registry: Seen<VirtualRegistry>, stored: SeenDocument | undefined, mustStay = false) {
    const previous = stored?.document?.route
    const { namespace } = registry.metadata
    return planRegistry({
      registry,
      upstream: (upstream) => upstreamState(`${namespace}/${upstream}`),
      previous: previous?.kind === 'VirtualRegistry' ? previous : undefined,
      unreadable: stored?.document === undefined ? stored : undefined,
      contenders: contendersOf(registry, world, leaving),
      mustStay,
      grants,
      externalUrl,
    })
  }

  /** Of an upstream that is not taken the proxies have an earlier version, or none. */
  function untakenOf(
    { namespace, upstreams }: RegistryRoute,
    by: 'NotWritten' | 'NotTaken',
  ): Verdict | undefined {
    for (const { name } of upstreams) {
      const said = untaken(world.upstreams.get(`${namespace}/${name}`), by)
      if (said !== undefined) return { ...said, message: `Upstream ${name}: ${said.message}` }
    }
    return undefined
  }

  /** Where an upstream is what a proxy cannot take, no time brings the registry there. */
  function servedAs(
    key: string,
    route: RegistryRoute,
    revision: string,
    before: Verdict | undefined,
  ): Verdict {
    const verdict = delivery.programmed('VirtualRegistry', key, revision, before)
    return (verdict.reason === 'Pending' ? untakenOf(route, 'NotTaken') : undefined) ?? verdict
  }

  async function takeAway(stored: SeenDocument): Promise<Delivered> {
    const { uid } = stored.metadata
    leaving.add(uid)
    const refusal = await refusalOf(() => cluster.deleteSecret(stored.metadata))
    if (refusal === undefined) return { ...nothing, action: 'delete document' }
    leaving.delete(uid)
    return { programmed: notWritten(refusal, stored), isEarly: false, refusal }
  }

  /** Lets nothing go for what would then be refused. */
  async function planWith(
    registry: Seen<VirtualRegistry>,
    stored: SeenDocument | undefined,
  ): Promise<{ readonly plan: RegistryPlan; readonly refusal?: ApiError | undefined }> {
    const plan = planOf(registry, stored)
    if (plan.movesTo === undefined || stored === undefined) return { plan }
    const { uid } = stored.metadata
    leaving.add(uid)
    const refusal = await refusalToWrite(means, plan.movesTo, stored).finally(() => leaving.delete(uid))
    return { plan: planOf(registry, stored, refusal !== undefined), refusal }
  }

  /** Brings the document to what it should be. `isEarly`: what is to be said of it is better said in a moment. */
  async function deliver(
    key: string,
    registry: Seen<VirtualRegistry>,
    { route, isLeft, verdicts: { Accepted, ResolvedRefs } }: RegistryPlan,
    stored: SeenDocument | undefined,
  ): Promise<Delivered> {
    const isTakenAway = route === undefined && !isLeft
    if (stored !== undefined && isTakenAway) return takeAway(stored)
    if (stored !== undefined) leaving.delete(stored.metadata.uid)
    if (route === undefined) return nothing
    const { namespace } = registry.metadata
    const { document, isWritten, refusal } = await settleDocument(means, route, stored)
    if (refusal !== undefined) return { programmed: notWritten(refusal, stored), isEarly: false, refusal }
    const revisions = route.upstreams.map(({ name }) => {
      const found = world.documentOf({ kind: 'Upstream', namespace, name })
      return found?.document?.revision
    })
    const revision = registryRevision(document.revision, revisions)
    const before = saidBefore(registry, 'Programmed')
    const programmed = untakenOf(route, 'NotWritten') ?? servedAs(key, route, revision, before)
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
    const { plan, refusal: refusedMove } = await planWith(registry, stored)
    const delivered = await deliver(key, registry, plan, stored)
    const { action, isEarly, refusal = refusedMove } = delivered
    const programmed = refusedMove === undefined ? delivered.programmed : notWritten(refusedMove, stored)
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
