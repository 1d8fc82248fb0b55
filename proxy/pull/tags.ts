import { OciError } from '../oci/errors.ts'
import type { Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { hasWalk } from './admission.ts'
import type { PendingTag, TagRecord } from './catalog.ts'
import { freshForMs, freshness } from './freshness.ts'
import {
  answerOf,
  type DigestManifests,
  eligibleOf,
  leaseMs,
  leaseUntil,
  type ManifestParts,
  tell,
} from './manifests.ts'
import type { ManifestAnswer, ManifestRequest, Outcome } from './pull.ts'
import { type FetchedManifest, isNo, type ManifestHead, type No } from './questions.ts'
import {
  type Checked,
  type Revalidation,
  revalidationMs,
  type TagPlace,
  unconfirmed,
} from './revalidation.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { toOciError } from './trouble.ts'
import { describe, note, walk } from './walk.ts'

export interface TagParts extends ManifestParts {
  readonly manifests: DigestManifests
  readonly revalidation: Revalidation
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
  const { catalog, questions, admission, uses, manifests, revalidation, now, monotonicNow } = parts
  const fetches = createSingleFlight<FetchedManifest | No>()

  async function byTag(request: ManifestRequest, tag: string): Promise<ManifestAnswer> {
    const { story, method } = request
    const own: Walk = { registry: request.registry.key, ns: request.ns }
    const places = await placesOf(request, tag)

    const entered = places.find(({ record }) => record && hasWalk(record.entry.walks, own))
    if (entered?.record) return orUnknown(await fromEntry(request, entered, entered.record, true))

    const waiting =
      method === 'HEAD'
        ? places.find(({ key }) => hasWalk(catalog.pending(key)?.walks ?? [], own))
        : undefined
    if (waiting) {
      const pending = catalog.pending(waiting.key)
      if (pending && isFresh(waiting, pending.checkedAt)) return fromPending(request, waiting, pending, 'hit')
    }
    const options = { by: 'tag', unknown: 'MANIFEST_UNKNOWN', story, now: monotonicNow } as const
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
      const answer = await fromEntry(request, place, place.record, false)
      if (!isNo(answer)) admission.walk(place.key, catalog.rememberedTag(place.key) ?? place.record, own)
      return answer
    }
    if (request.method === 'HEAD') return attemptHead(request, place, own, ms)
    const fetched = await fetch(place, own, ms)
    return isNo(fetched) ? fetched : afterFetch(request, place, fetched)
  }

  async function attemptHead(
    request: ManifestRequest,
    place: TagPlace,
    own: Walk,
    ms: number,
  ): Promise<ManifestAnswer | No> {
    const before = catalog.pending(place.key)
    let head: ManifestHead | No
    try {
      head = await questions.headManifest(place, place.key.tag, ms)
    } catch (error) {
      if (!before || !(error instanceof UpstreamError)) throw error
      return fromPending(request, place, before, 'stale-served', unconfirmed)
    }
    if (isNo(head) && head.no !== 405) return head
    const learned = isNo(head) ? undefined : await revalidation.learn(place, head, [own])
    if (learned) return fromPending(request, place, learned, 'miss')
    const fetched = await fetch(place, own, ms)
    return isNo(fetched) ? fetched : afterFetch(request, place, fetched)
  }

  function fetch(place: TagPlace, own: Walk, ms: number): Promise<FetchedManifest | No> {
    const { key } = place
    return fetches(keyOf(key.upstreamId, key.repository, key.tag), async () => {
      const fetched = await questions.getManifest(place, key.tag, ms)
      if (!isNo(fetched)) admission.manifest(place, fetched, { key, walks: [own] })
      return fetched
    })
  }

  function afterFetch(request: ManifestRequest, place: TagPlace, fetched: FetchedManifest): ManifestAnswer {
    const record = catalog.rememberedTag(place.key)
    if (record) admission.walk(place.key, record, { registry: request.registry.key, ns: request.ns })
    uses.tag(place.key, request.method === 'GET' ? 1 : 0)
    tell(request.story, place, 'miss')
    return answerOf(request, fetched)
  }

  /** Serves what is cached of the tag: as it is while fresh, after a check otherwise, and whatever the check comes to. */
  async function fromEntry(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    ownWalk: boolean,
  ): Promise<ManifestAnswer | No> {
    if (isFresh(place, record.entry.checkedAt)) return fromRecord(request, place, record, { outcome: 'hit' })
    const pending = request.method === 'HEAD' ? catalog.pending(place.key) : undefined
    if (pending && isFresh(place, pending.checkedAt)) return fromPending(request, place, pending, 'hit')

    const checked = await revalidation.check(request, place, record, ownWalk)
    if (isNo(checked)) return checked
    const learned = request.method === 'HEAD' && !checked.warning ? catalog.pending(place.key) : undefined
    if (learned) return fromPending(request, place, learned, checked.outcome)
    return fromRecord(request, place, catalog.rememberedTag(place.key) ?? record, checked)
  }

  async function fromRecord(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    { outcome, warning }: Checked,
  ): Promise<ManifestAnswer> {
    const manifest =
      (await manifests.linked(place, record.entry.digest)) ?? (await refetch(request, place, record))
    const use = uses.tag(place.key, request.method === 'GET' ? 1 : 0)
    tell(request.story, place, outcome)
    const until = warning === undefined ? freshUntil(place, record) : revalidation.unaskableUntil(place)
    const lease = leaseUntil(Math.min(until, monotonicNow() + leaseMs), monotonicNow, use, () => record.live)
    return answerOf(request, manifest, { warning, lease })
  }

  /** The tag is known and its bytes are gone, evicted or spoiled: they come from where they came from. */
  async function refetch(request: ManifestRequest, place: TagPlace, { entry }: TagRecord) {
    try {
      const found = await manifests.obtain(place, entry.digest, revalidationMs)
      if (!isNo(found)) return found
      note(request.story, place, String(found.no))
    } catch (error) {
      if (!(error instanceof UpstreamError)) throw error
      note(request.story, place, describe(error))
      throw toOciError([error])
    }
    throw new OciError('MANIFEST_UNKNOWN')
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

function orUnknown(answer: ManifestAnswer | No): ManifestAnswer {
  if (isNo(answer)) throw new OciError('MANIFEST_UNKNOWN')
  return answer
}
