import { createPolicyReconciler } from './cleanup-policy/reconcile.ts'
import { type Delivery, unasked } from './delivery.ts'
import type { Seen, SeenDocument } from './observed.ts'
import { createPatience } from './patience.ts'
import type { Cluster } from './runtime/cluster.ts'
import { type Controller, createController } from './runtime/controller.ts'
import type { EventRecorder } from './runtime/events.ts'
import type { RuntimeMetrics } from './runtime/runtime-metrics.ts'
import type { WorkQueue } from './runtime/work-queue.ts'
import { type Means, untaken } from './settle.ts'
import { createSweeper } from './sweep.ts'
import { createUpstreamReconciler } from './upstream/reconcile.ts'
import { createUpstreamStates } from './upstream/state.ts'
import { overlap } from './virtual-registry/claims.ts'
import { contendersOf } from './virtual-registry/contenders.ts'
import type { Grants } from './virtual-registry/grants.ts'
import { createRegistryReconciler } from './virtual-registry/reconcile.ts'
import { groundsOf, heldClaim, type World } from './world.ts'

export interface OperatorOptions {
  readonly world: World
  readonly cluster: Cluster
  readonly events: EventRecorder
  readonly delivery?: Delivery
  readonly grants: Grants
  readonly externalUrl: string | undefined
  readonly now: () => Date
  readonly monotonicNow?: () => number
  /** How long what is on its way to the proxies may be without a word. */
  readonly patienceMs?: number
  readonly newRevision: () => string
  readonly tell: Means['tell']
  onError(controller: string, key: string, error: unknown): void
  readonly metrics: Pick<RuntimeMetrics, 'controller'>
  readonly workers?: number
  readonly resyncMs?: number
}

/**
 * Keeps documents and statuses equal to what the world asks for, from when everything was read once until the signal is
 * aborted; resolves when nothing is under way any more. For the leader alone.
 */
export async function runOperator(options: OperatorOptions, signal: AbortSignal): Promise<void> {
  const { world, metrics, onError, workers = 4, resyncMs = 30 * 60_000 } = options
  await Promise.race([world.synced, whenAborted(signal)])
  if (signal.aborted) return

  const controllerOf = (name: string, reconcile: (key: string) => Promise<void>): Controller => {
    const observe = metrics.controller(name, workers)
    const onFailed = (key: string, error: unknown) => onError(name, key, error)
    const controller = createController({ reconcile, workers, observe, onError: onFailed })
    observe.watch(controller.queue)
    return controller
  }
  const { monotonicNow = () => performance.now(), patienceMs } = options
  const means = (queue: () => WorkQueue) => ({
    delivery: unasked,
    patience: createPatience(monotonicNow, patienceMs),
    recheck: (key: string, ms: number) => queue().addAfter(key, ms),
    ...options,
  })
  const upstreamState = createUpstreamStates(world)
  const upstreams: Controller = controllerOf(
    'upstream',
    createUpstreamReconciler(means(() => upstreams.queue)),
  )
  /** Keys of registries that want something else since they were looked at. */
  const changed = new Set<string>()
  const reconcileRegistry = createRegistryReconciler({ ...means(() => registries.queue), upstreamState })
  const registries: Controller = controllerOf('virtualregistry', (key) => {
    // not where the change is told: there may be many at once
    if (changed.delete(key)) for (const each of waitingAround(key, world)) registries.queue.add(each)
    return reconcileRegistry(key)
  })
  const policies: Controller = controllerOf(
    'cleanuppolicy',
    createPolicyReconciler(means(() => policies.queue)),
  )
  const documents: Controller = controllerOf(
    'document',
    createSweeper({ ...means(() => documents.queue), monotonicNow }),
  )

  const controllers = { upstreams, registries, policies, documents }
  connect(controllers, { ...options, changed })
  const addAll = () => {
    for (const each of world.upstreams.values()) upstreams.queue.add(keyOf(each))
    for (const each of world.registries.values()) registries.queue.add(keyOf(each))
    for (const each of world.policies.values()) policies.queue.add(keyOf(each))
    for (const each of world.documents.values()) documents.queue.add(keyOf(each))
  }
  addAll()
  const resync = setInterval(addAll, resyncMs)
  try {
    await Promise.all(Object.values(controllers).map((each) => each.run(signal)))
  } finally {
    clearInterval(resync)
  }
}

interface Controllers {
  readonly upstreams: Controller
  readonly registries: Controller
  readonly policies: Controller
  readonly documents: Controller
}

/** Which keys a change concerns. */
function connect(
  { upstreams, registries, policies, documents }: Controllers,
  { world, delivery, changed }: OperatorOptions & { readonly changed: Set<string> },
): void {
  const registriesOf = (upstreamKey: string) => {
    for (const each of world.registries.select('upstream', upstreamKey)) registries.queue.add(keyOf(each))
  }
  const upstreamsWith = (index: string) => (key: string) => {
    for (const each of world.upstreams.select(index, key)) {
      upstreams.queue.add(keyOf(each))
      registriesOf(keyOf(each))
    }
  }
  /** Ground that came free is for those who could not have it. */
  const release = (grounds: readonly string[]) => {
    for (const ground of grounds) {
      for (const each of world.registries.select('claim', ground)) {
        if (lostItsClaim(each)) registries.queue.add(keyOf(each))
      }
    }
  }

  delivery?.onChange((kind, key) => {
    const { queue } = kind === 'Upstream' ? upstreams : registries
    queue.add(key)
  })
  world.secrets.onChange(upstreamsWith('secret'))
  world.configMaps.onChange(upstreamsWith('configMap'))
  world.upstreams.onChange((key, previous, current) => {
    if (isGone(current)) documents.queue.add(world.documentKey(ownerOf('Upstream', key)))
    else upstreams.queue.add(key)
    const isUntaken = (seen: typeof previous) => untaken(seen, 'NotWritten') ?? untaken(seen, 'NotTaken')
    const hasTurned = isUntaken(previous)?.message !== isUntaken(current)?.message
    if (hasTurned || isAnother(previous, current)) registriesOf(key)
  })
  world.registries.onChange((key, previous, current) => {
    if (isGone(current)) documents.queue.add(world.documentKey(ownerOf('VirtualRegistry', key)))
    else registries.queue.add(key)
    if (previous === undefined || !isAnother(previous, current)) return
    release(groundsOf(world.wantedClaim(previous)))
    if (!isGone(current)) changed.add(key)
  })
  world.policies.onChange((key) => policies.queue.add(key))
  world.documents.onChange((key, previous, current) => {
    documents.queue.add(key)
    const isAsBefore = previous?.document?.revision === current?.document?.revision
    // whoever it was taken from, too
    for (const owner of [previous?.owner, current?.owner, ...othersAt(current, world)]) {
      if (owner === undefined) continue
      const { queue } = owner.kind === 'Upstream' ? upstreams : registries
      queue.add(`${owner.namespace}/${owner.name}`)
      if (owner.kind === 'Upstream' && !isAsBefore) registriesOf(`${owner.namespace}/${owner.name}`)
    }
    if (previous !== undefined) release(groundsLeft(previous, current))
  })
}

/** Whose documents have something of the same claim: a write may come late, when another was given its path. */
function othersAt(stored: SeenDocument | undefined, { documents }: World): SeenDocument['owner'][] {
  const claim = stored && heldClaim(stored)
  if (claim === undefined) return []
  const near = groundsOf(claim).flatMap((ground) => documents.select('claim', ground))
  return near.filter((each) => each !== stored && overlap(heldClaim(each)!, claim)).map(({ owner }) => owner)
}

/** What of the claim of a document is no longer held, as far as somebody else may want it. */
function groundsLeft(previous: SeenDocument, current: SeenDocument | undefined): string[] {
  const before = heldClaim(previous)
  const after = current && heldClaim(current)
  const isSame = before?.path === after?.path && before?.hosts.join() === after?.hosts.join()
  return isSame ? [] : groundsOf(before)
}

/** Who closes a ring with what it wants may not be the one that can open it. */
function waitingAround(key: string, world: World): string[] {
  const registry = world.registries.get(key)
  const all = registry === undefined ? [] : contendersOf(registry, world)
  const others = all.map((each) => `${each.namespace}/${each.name}`).filter((each) => each !== key)
  return others.filter((each) => {
    const found = world.registries.get(each)
    return found !== undefined && lostItsClaim(found)
  })
}

/** Or may have, where it was not said yet. */
function lostItsClaim({ metadata, status }: Seen<unknown>): boolean {
  if (status.observedGeneration !== metadata.generation) return true
  const accepted = status.conditions.find(({ type }) => type === 'Accepted')
  return accepted?.reason === 'PathConflict' || accepted?.reason === 'HostConflict'
}

function isGone(current: Seen<unknown> | undefined): boolean {
  return current === undefined || current.metadata.isBeingDeleted
}

/** Whether more than its status is another. */
function isAnother(previous: Seen<unknown> | undefined, current: Seen<unknown> | undefined): boolean {
  if (previous === undefined || current === undefined) return true
  const [a, b] = [previous.metadata, current.metadata]
  return a.uid !== b.uid || a.generation !== b.generation || a.isBeingDeleted !== b.isBeingDeleted
}

function ownerOf<Kind extends 'Upstream' | 'VirtualRegistry'>(kind: Kind, key: string) {
  const [namespace = '', name = ''] = key.split('/')
  return { kind, namespace, name }
}

function keyOf({ metadata }: { metadata: { namespace: string; name: string } }): string {
  return `${metadata.namespace}/${metadata.name}`
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
