import type { PendingTag, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { hasWalk } from './admission.ts'
import type { TagRecord } from './catalog.ts'
import { type Checks, type TagPlace, unconfirmed } from './checks.ts'
import { isUnreadable, orUnreadable } from './failure.ts'
import { freshForMs, freshness } from './freshness.ts'
import {
  answerOf,
  type DigestManifests,
  eligibleOf,
  type LinkedManifest,
  leaseMs,
  leaseUntil,
  type ManifestParts,
  tell,
} from './manifests.ts'
import type { ManifestAnswer, ManifestRequest, Outcome } from './pull.ts'
import { type FetchedManifest, isNo, type ManifestHead, type No, refusesHead } from './questions.ts'
import type { Checked, Revalidation } from './revalidation.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { walk } from './walk.ts'

export interface TagParts extends ManifestParts {
  readonly manifests: DigestManifests
  readonly revalidation: Revalidation
  readonly checks: Checks
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** With what is cached of the tag there. */
interface CachedTagPlace extends TagPlace {
  readonly record: TagRecord | undefined
}

export function createTagManifests(parts: TagParts): {
  byTag(request: ManifestRequest, tag: string): Promise<ManifestAnswer>
} {
  const { catalog, questions, admission, uses, manifests, revalidation, checks, now, monotonicNow } = parts
  const fetches = createSingleFlight<FetchedManifest | No>()

  async function byTag(request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { story, method } = request
    const own = ownWalk(request)
    const places = await placesOf(request, tag)

    const entered = places.find(({ record }) => record && hasWalk(record.entry.walks, own))
    const options = { by: 'tag', unknown: 'MANIFEST_UNKNOWN', story, now: monotonicNow } as const
    if (entered?.record) {
      const { record } = entered
      const { found } = await walk(
        [entered],
        (place, ms) => fromEntry(request, place, record, true, ms),
        options,
      )
      return found
    }

    const waiting =
      method === 'HEAD'
        ? places.find(({ key }) => hasWalk(catalog.pending(key)?.walks ?? [], own))
        : undefined
    if (waiting) {
      const pending = catalog.pending(waiting.key)
      if (pending && isFresh(waiting, pending.checkedAt)) return fromPending(request, waiting, pending, 'hit')
    }
    const { found } = await walk(places, (place, ms) => attempt(request, place, own, ms), options)
    return found
  }

  async function placesOf(request: ManifestRequest, tag: string): Promise<CachedTagPlace[]> {
    return Promise.all(
      eligibleOf(request).map(async (place) => {
        const key = { upstreamId: place.upstream.id, repository: place.repository, tag }
        return { ...place, key, record: await catalog.tag(key) }
      }),
    )
  }

  /** One upstream's turn in a walk. What another registry left in its cache is as good as an answer of its own. */
  async function attempt(
    request: ManifestRequest,
    place: CachedTagPlace,
    own: Walk,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    if (place.record) {
      const answer = await fromEntry(request, place, place.record, false, ms)
      if (!isNo(answer)) admission.walk(place.key, catalog.rememberedTag(place.key) ?? place.record, own)
      return answer
    }
    return request.method === 'HEAD' ? attemptHead(request, place, own, ms) : fromFetch(request, place, ms)
  }

  async function attemptHead(
    request: ManifestRequest,
    place: TagPlace,
    own: Walk,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    const before = catalog.pending(place.key)
    const asked = admission.asking(place.key)
    let head: ManifestHead | No
    try {
      head = await questions.headManifest(place, place.key.tag, ms)
    } catch (error) {
      if (!before || !(error instanceof UpstreamError)) throw error
      return fromPending(request, place, before, 'stale-served', unconfirmed)
    }
    if (isNo(head) && !refusesHead(head)) return head
    const learned = isNo(head) ? undefined : await revalidation.learn(place, head, [own], asked)
    if (learned) return fromPending(request, place, learned, 'miss')
    return fromFetch(request, place, ms)
  }

  function fetch(place: TagPlace, own: Walk, ms: number): Promise<FetchedManifest | No> {
    const { key } = place
    return fetches(keyOf(key.upstreamId, key.repository, key.tag), async () => {
      const asked = admission.asking(key)
      const fetched = await questions.getManifest(place, key.tag, ms)
      if (!isNo(fetched)) admission.manifest(place, fetched, { key, walks: [own], asked })
      return fetched
    })
  }

  async function fromFetch(
    request: ManifestRequest,
    place: TagPlace,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    const own = ownWalk(request)
    const fetched = await fetch(place, own, ms)
    if (isNo(fetched)) return fetched
    const record = catalog.rememberedTag(place.key)
    if (record) admission.walk(place.key, record, own)
    uses.tag(place.key, request.method === 'GET' ? 1 : 0)
    tell(request.story, place, 'miss')
    return answerOf(request, fetched)
  }

  /** Serves what is cached of the tag: as it is while fresh, after a check otherwise, and whatever the check comes to. */
  async function fromEntry(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    isOwn: boolean,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    if (isFresh(place, record.entry.checkedAt))
      return fromRecord(request, place, record, { outcome: 'hit' }, ms)
    const pending = request.method === 'HEAD' ? catalog.pending(place.key) : undefined
    if (pending && isFresh(place, pending.checkedAt)) return fromPending(request, place, pending, 'hit')

    const checked = await revalidation.check(request, place, record, isOwn)
    if (isNo(checked)) return checked
    const learned = request.method === 'HEAD' && !checked.warning ? catalog.pending(place.key) : undefined
    if (learned) return fromPending(request, place, learned, checked.outcome)
    return fromRecord(request, place, catalog.rememberedTag(place.key) ?? record, checked, ms)
  }

  /**
   * Bytes that are gone, evicted or spoiled, come from where they came from; if they are gone there too, so is what was cached.
   * Where the store has them and does not give them nothing is gone: no lower-priority image is an answer then.
   */
  async function fromRecord(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    checked: Checked,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    const linked = await manifests.linked(place, record.entry.digest).catch(orUnreadable)
    if (linked && !isUnreadable(linked)) return fromManifest(request, place, record, linked, checked)
    const answer = await anew(request, place, record, { ...checked, outcome: 'miss' }, ms)
    if (isNo(answer) && linked) throw linked
    return answer
  }

  async function anew(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    checked: Checked,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    if (request.method === 'HEAD') return attemptHead(request, place, ownWalk(request), ms)
    const manifest = await manifests.obtain(place, record.entry.digest, ms)
    if (isNo(manifest)) return fromFetch(request, place, ms)
    return fromManifest(request, place, record, manifest, checked)
  }

  function fromManifest(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    manifest: LinkedManifest,
    { outcome, warning }: Checked,
  ): ManifestAnswer {
    const use = uses.tag(place.key, request.method === 'GET' ? 1 : 0)
    tell(request.story, place, outcome)
    const until = warning === undefined ? freshUntil(place, record) : checks.unaskableUntil(place)
    const lease = leaseUntil(Math.min(until, monotonicNow() + leaseMs), monotonicNow, use, () => record.live)
    return answerOf(request, manifest, { warning, lease })
  }

  function fromPending(
    { story }: ManifestRequest,
    place: TagPlace,
    { digest, mediaType, size }: PendingTag,
    outcome: Outcome,
    warning?: string,
  ): ManifestAnswer {
    tell(story, place, outcome)
    uses.tag(place.key, 0)
    return { digest, mediaType, size, bytes: undefined, warning, lease: undefined }
  }

  function isFresh({ upstream }: TagPlace, checkedAt: number): boolean {
    return freshness(upstream.revalidation, checkedAt, now()) === 'fresh'
  }

  /** On the monotonic clock. */
  function freshUntil({ upstream }: TagPlace, { entry }: TagRecord): number {
    return monotonicNow() + freshForMs(upstream.revalidation, entry.checkedAt, now())
  }

  return { byTag }
}

function ownWalk({ registry, ns }: ManifestRequest): Walk {
  return { registry: registry.key, ns }
}
