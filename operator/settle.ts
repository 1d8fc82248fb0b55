import type { RegistryRoute, RouteDocument, UpstreamRoute } from '../proxy/routes.ts'
import { apiVersion } from './api/object.ts'
import type { Delivery } from './delivery.ts'
import { isMarked, nextDocument, secretOf } from './documents.ts'
import { observeDocument, type Seen, type SeenDocument } from './observed.ts'
import type { Patience } from './patience.ts'
import { ApiError, isStatus } from './runtime/api-error.ts'
import type { Cluster } from './runtime/cluster.ts'
import { isSame, type Verdict } from './runtime/conditions.ts'
import type { EventRecorder } from './runtime/events.ts'
import type { KindCache } from './runtime/kind-cache.ts'
import { type CommonStatus, happeningsOf, no } from './status.ts'
import { plurals, type World } from './world.ts'

/** What all kinds are reconciled with. */
export interface Means {
  readonly world: World
  readonly cluster: Cluster
  readonly delivery: Delivery
  readonly events: EventRecorder
  readonly now: () => Date
  readonly newRevision: () => string
  readonly patience: Patience
  /** Has a key looked at again after so long. */
  recheck(key: string, ms: number): void
  /** One line for a reconcile that did something. */
  tell(fields: {
    readonly kind: string
    readonly namespace: string
    readonly name: string
    readonly generation: number
    readonly actions: readonly string[]
  }): void
}

/** What was said of a revision before, in the status as it is seen. */
export function saidBefore({ status }: Seen<unknown>, type: string): Verdict | undefined {
  const found = status.conditions.find((each) => each.type === type)
  return found && { status: found.status, reason: found.reason, message: found.message }
}

/** What the status says where the API server does not take the document, or a proxy. */
export function untaken(seen: Seen<unknown> | undefined, by: 'NotWritten' | 'NotTaken'): Verdict | undefined {
  const said = seen && saidBefore(seen, 'Programmed')
  return said?.reason === by ? said : undefined
}

/**
 * Whether the status is better written in a moment: what is new is still on its way to the proxies, and nothing else is
 * wrong. The key is then looked at again.
 */
export function isOnItsWay(
  { patience, recheck }: Pick<Means, 'patience' | 'recheck'>,
  key: string,
  {
    revision,
    isWhole,
    others,
  }: {
    readonly revision: string
    /** Whether the proxies have said all that there is to say. */
    readonly isWhole: boolean
    readonly others: readonly Verdict[]
  },
): boolean {
  if (isWhole) {
    patience.end(key)
    return false
  }
  const leftMs = patience.leftMs(key, revision)
  if (leftMs === 0 || others.some(({ status }) => status !== 'True')) return false
  recheck(key, leftMs)
  return true
}

/**
 * Whether a conflict is better said in a moment: a path may be wanted just before its holder leaves it, in the same
 * `kubectl apply`, and whoever waits gives up when it is said. The key is then looked at again.
 */
export function mayPass(
  { patience, recheck }: Pick<Means, 'patience' | 'recheck'>,
  key: string,
  seen: Seen<unknown>,
  accepted: Verdict,
): boolean {
  const { generation } = seen.metadata
  const isOfThis = seen.status.observedGeneration === generation
  const isSaid = isOfThis && saidBefore(seen, 'Accepted')?.reason === accepted.reason
  if (!isConflict(accepted) || isSaid) return false
  const leftMs = patience.leftMs(key, `${accepted.reason} ${generation}`)
  if (leftMs > 0) recheck(key, leftMs)
  return leftMs > 0
}

export function isConflict({ reason }: Verdict): boolean {
  return reason === 'PathConflict' || reason === 'HostConflict'
}

const refused = Symbol('refused')

/**
 * Has the document written if it is not there yet; gives the one that is, or is to be where that is refused. A refusal is
 * for the status first, and then to be thrown.
 */
export async function settleDocument(
  { world, cluster, newRevision }: Means,
  route: UpstreamRoute | RegistryRoute,
  stored: SeenDocument | undefined,
): Promise<{
  readonly document: RouteDocument
  readonly isWritten: boolean
  readonly refusal: ApiError | undefined
}> {
  const document = nextDocument(route, stored?.document, newRevision)
  if (document === stored?.document && isMarked(stored, route))
    return { document, isWritten: false, refusal: undefined }
  const refusal = await refusalOf(async () => {
    const raw = await cluster.applySecret(secretOf(document))
    world.documents.put(observeDocument(raw))
  })
  return { document, isWritten: refusal === undefined, refusal }
}

/** Why the API server would not take this document; nothing is written. */
export function refusalToWrite(
  { cluster, newRevision }: Pick<Means, 'cluster' | 'newRevision'>,
  route: RegistryRoute,
  stored: SeenDocument,
): Promise<ApiError | undefined> {
  const document = nextDocument(route, stored.document, newRevision)
  return refusalOf(async () => {
    await cluster.applySecret(secretOf(document), { isDryRun: true })
  })
}

/** Why the API server does not take a write: a quota, an admission webhook, a right. What passes by itself is thrown. */
export async function refusalOf(write: () => Promise<void>): Promise<ApiError | undefined> {
  try {
    await write()
    return undefined
  } catch (error) {
    if (error instanceof ApiError && isRefusal(error)) return error
    throw error
  }
}

function isRefusal({ status = 0 }: ApiError): boolean {
  return status >= 400 && status < 500 && status !== 409 && status !== 429
}

const words = 'its words are in the audit log of the API server, or with the admission webhooks there'

/** Without what the API server says of it, which may repeat what was sent. */
export function notWritten({ status, reason }: ApiError, stored: SeenDocument | undefined): Verdict {
  // only those of 403 are kept: others may repeat what was sent
  const where = status === 403 ? 'the log of the operator has its words' : words
  const kept = stored === undefined ? 'they have nothing of it' : 'they keep what they had'
  const message = `the API server does not take what the proxies are to have (${status} ${reason}), so that ${kept}; ${where}`
  return no('NotWritten', message)
}

/**
 * Has the status written if it says something else; tells the events of what turned. What was stored before the schema
 * refused it may be such that the API server takes no status for it: then the events alone say what is wrong. Gives what
 * was done.
 */
export async function settleStatus<R>(
  { cluster, events }: Means,
  {
    seen,
    kind,
    cache,
    observe,
  }: {
    readonly seen: Seen<R>
    readonly kind: keyof typeof plurals
    readonly cache: KindCache<Seen<R>>
    observe(raw: unknown): Seen<R>
  },
  status: CommonStatus,
): Promise<readonly string[]> {
  if (saysTheSame(seen.status, status)) return []
  const { namespace, name, uid } = seen.metadata
  const target = { kind, plural: plurals[kind], namespace, name, uid }
  const raw = await cluster.applyStatus(target, status).catch((error: unknown) => {
    if (seen.resource === undefined && isStatus(error, 422, 500)) return refused
    throw error
  })
  if (raw === undefined) return []
  if (raw !== refused) cache.put(observe(raw))
  const regarding = { apiVersion, kind, namespace, name, uid }
  for (const happening of happeningsOf(seen.status.conditions, status.conditions)) {
    events.record(regarding, happening)
  }
  return [raw === refused ? 'tell events' : 'apply status']
}

/** Conditions and fields that others put there are theirs. Of ours one alone goes away, and Accepted turns with it. */
function saysTheSame(seen: Seen<unknown>['status'], status: CommonStatus): boolean {
  const { conditions, ...rest } = status
  const ours = conditions.every((condition) =>
    isSame(
      seen.conditions.find(({ type }) => type === condition.type),
      condition,
    ),
  )
  const { conditions: _conditions, ...seenRest } = seen
  return ours && isSame(seenRest, rest)
}
