import { OciError } from '../oci/errors.ts'
import type { Eligible } from '../route-table.ts'
import type { TagKey, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { hasWalk } from './admission.ts'
import type { Backoff } from './backoff.ts'
import type { PendingTag, TagRecord } from './catalog.ts'
import { freshForMs, freshness } from './freshness.ts'
import type { Health } from './health.ts'
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
import { createSingleFlight, keyOf } from './single-flight.ts'
import { refusalOf, toOciError } from './trouble.ts'
import { describe, note, walk } from './walk.ts'
import { within } from './within.ts'

/** What a revalidation may take in all; a cached answer then goes out whatever is still under way. */
export const revalidationMs = 2_500

export interface TagParts extends ManifestParts {
  readonly manifests: DigestManifests
  readonly health: Health
  /** Of single tags: an upstream that is well may have lost one. On the monotonic clock. */
  readonly tagBackoff: Backoff
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** One upstream of a pull by tag, with what is cached of the tag there. */
interface TagPlace extends Eligible {
  readonly key: TagKey
  readonly record: TagRecord | undefined
}

/** What a check of a stale tag came to; `warning` when nobody could confirm what is cached. */
interface Checked {
  readonly outcome: Outcome
  readonly warning?: string
}

export function createTagManifests(parts: TagParts): {
  byTag(request: ManifestRequest, tag: string): Promise<ManifestAnswer>
} {
  const { catalog, questions, admission, uses, manifests, health, tagBackoff, now, monotonicNow } = parts
  const fetches = createSingleFlight<FetchedManifest | No>()
  const refreshes = createSingleFlight<Checked>()

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

  async function placesOf(request: ManifestRequest, tag: string): Promise<TagPlace[]> {
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
    place: TagPlace,
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
    const learned = isNo(head) ? undefined : await learn(place, head, [own])
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

    const checked = await check(request, place, record, ownWalk)
    if (isNo(checked)) return checked
    const learned = request.method === 'HEAD' && !checked.warning ? catalog.pending(place.key) : undefined
    if (learned) return fromPending(request, place, learned, checked.outcome)
    return fromRecord(request, place, catalog.rememberedTag(place.key) ?? record, checked)
  }

  async function check(
    request: ManifestRequest,
    place: TagPlace,
    record: TagRecord,
    ownWalk: boolean,
  ): Promise<Checked | No> {
    // a registry that has not been here before is on a cold walk: what single tags do holds nothing back then
    if ((ownWalk ? unaskableUntil(place) : upstreamUnaskableUntil(place)) > 0)
      return { outcome: 'stale-served', warning: unconfirmed }
    const { upstreamId, repository, tag } = place.key
    const name = keyOf(upstreamId, repository, tag)
    const refresh = () =>
      refreshes(keyOf(name, request.method), () => revalidate(place, record, request.method))
    try {
      return await within(revalidationMs, refresh(), () => {
        tagBackoff.failed(name)
        return { outcome: 'stale-served', warning: unconfirmed }
      })
    } catch (error) {
      if (error instanceof TagGone) {
        note(request.story, place, String(error.status))
        return ownWalk ? { outcome: 'stale-served', warning: gone } : { no: error.status }
      }
      if (!(error instanceof UpstreamError)) throw error
      note(request.story, place, describe(error))
      return { outcome: 'stale-served', warning: unconfirmed }
    }
  }

  /** Asks whether the tag is still what is cached, and moves it when it is not. Throws for trouble and for a no. */
  async function revalidate(place: TagPlace, record: TagRecord, method: 'GET' | 'HEAD'): Promise<Checked> {
    const { upstreamId, repository, tag } = place.key
    const name = keyOf(upstreamId, repository, tag)
    try {
      const head = await questions.headManifest(place, tag, revalidationMs)
      if (isNo(head) && head.no !== 405) throw new TagGone(head.no)
      if (!isNo(head) && head.digest === record.entry.digest) await catalog.touchTag(record, now())
      else if (
        !isNo(head) &&
        head.digest !== undefined &&
        method === 'HEAD' &&
        (await learn(place, head, []))
      ) {
        // a later GET fetches it: looking never does
      } else await move(place, isNo(head) ? undefined : head)
      tagBackoff.succeeded(name)
      return { outcome: 'revalidated' }
    } catch (error) {
      tagBackoff.failed(name)
      throw error
    }
  }

  /** Fetches what the tag is now and moves it there. */
  async function move(place: TagPlace, head: ManifestHead | undefined): Promise<void> {
    if (head?.digest !== undefined) {
      const found = await manifests.obtain(place, head.digest, revalidationMs)
      if (isNo(found)) throw new TagGone(found.no)
      admission.tag(
        place.key,
        { digest: found.digest, mediaType: found.mediaType, size: found.bytes.length },
        [],
      )
      return
    }
    const fetched = await questions.getManifest(place, place.key.tag, revalidationMs)
    if (isNo(fetched)) throw new TagGone(fetched.no)
    admission.manifest(place, fetched, { key: place.key, walks: [] })
  }

  /**
   * Keeps what a HEAD said: at once as the tag where the manifest is linked here already, as pending otherwise. Undefined
   * when it did not say enough to answer a client.
   */
  async function learn(
    place: TagPlace,
    { digest, size, mediaType }: ManifestHead,
    walks: readonly Walk[],
  ): Promise<PendingTag | undefined> {
    if (digest === undefined || size === undefined) return undefined
    const before = catalog.pending(place.key)?.walks ?? []
    const learned = { digest, size, mediaType, checkedAt: now(), walks: [...before, ...walks] }
    const linked = await manifests.linked(place, digest)
    if (linked)
      admission.tag(place.key, { digest, mediaType: linked.mediaType, size: linked.bytes.length }, walks)
    else catalog.setPending(place.key, learned)
    return learned
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
    const until = warning === undefined ? freshUntil(place, record) : unaskableUntil(place)
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

  /** On the monotonic clock; 0 when it may be asked. */
  function unaskableUntil(place: TagPlace): number {
    const { upstreamId, repository, tag } = place.key
    return Math.max(upstreamUnaskableUntil(place), tagBackoff.until(keyOf(upstreamId, repository, tag)))
  }

  function upstreamUnaskableUntil({ upstream }: TagPlace): number {
    return refusalOf(upstream) ? Number.POSITIVE_INFINITY : health.revalidateAt(upstream)
  }

  return { byTag }
}

export const unconfirmed = 'upstream could not be asked; serving cached content'
const gone = 'upstream no longer has this tag; serving cached content'

function orUnknown(answer: ManifestAnswer | No): ManifestAnswer {
  if (isNo(answer)) throw new OciError('MANIFEST_UNKNOWN')
  return answer
}

/** The upstream is well and says no to a tag that is cached. */
class TagGone extends Error {
  override readonly name = 'TagGone'
  readonly status: number
  constructor(status: number) {
    super('the upstream no longer has the tag')
    this.status = status
  }
}
