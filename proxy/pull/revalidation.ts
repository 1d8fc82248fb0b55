import type { Eligible } from '../route-table.ts'
import type { TagKey, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { mergeWalks } from './admission.ts'
import type { Backoff } from './backoff.ts'
import type { PendingTag, TagRecord } from './catalog.ts'
import { freshness } from './freshness.ts'
import type { Health } from './health.ts'
import type { DigestManifests, ManifestParts } from './manifests.ts'
import type { Outcome, PullRequest } from './pull.ts'
import { isNo, type ManifestHead, type No } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { refusalOf } from './trouble.ts'
import { describe, note } from './walk.ts'
import { within } from './within.ts'

/** What a revalidation may take in all; a cached answer then goes out whatever is still under way. */
export const revalidationMs = 2_500

export const unconfirmed = 'upstream could not be asked; serving cached content'
const refused = 'upstream no longer serves this tag; serving cached content'

export interface RevalidationParts extends Pick<ManifestParts, 'catalog' | 'questions' | 'admission'> {
  readonly manifests: DigestManifests
  readonly health: Health
  /** Of single tags: an upstream that is well may have lost one. On the monotonic clock. */
  readonly tagBackoff: Backoff
  /** Milliseconds since the epoch. */
  readonly now: () => number
}

/** One upstream of a pull by tag. */
export interface TagPlace extends Eligible {
  readonly key: TagKey
}

/** What a check of a stale tag came to; `warning` when nobody could confirm what is cached. */
export interface Checked {
  readonly outcome: Outcome
  readonly warning?: string
}

/** Finds out whether a stale tag is still what is cached, and moves it when it is not. */
export interface Revalidation {
  /**
   * One check for any number of pulls, within `revalidationMs`. Trouble is a result, not an error. A no is one too for a
   * registry whose own walk ended here; for another, whose walk goes on, it is a no.
   */
  check(request: PullRequest, place: TagPlace, record: TagRecord, ownWalk: boolean): Promise<Checked | No>
  learn(place: TagPlace, head: ManifestHead, walks: readonly Walk[]): Promise<PendingTag | undefined>
  /** Until when the upstream is not asked about this tag, on the monotonic clock; 0 when it may be. */
  unaskableUntil(place: TagPlace): number
}

const notConfirmed: Checked = { outcome: 'stale-served', warning: unconfirmed }

export function createRevalidation(parts: RevalidationParts): Revalidation {
  const { catalog, questions, admission, manifests, health, tagBackoff, now } = parts
  const refreshes = createSingleFlight<Checked>()

  async function check(
    { story, method }: PullRequest,
    place: TagPlace,
    record: TagRecord,
    ownWalk: boolean,
  ): Promise<Checked | No> {
    // a registry that has not been here before is on a cold walk: what single tags do holds nothing back then
    if ((ownWalk ? unaskableUntil(place) : upstreamUnaskableUntil(place)) > 0) return notConfirmed
    const name = nameOf(place)
    const refreshed = refreshes(keyOf(name, method), () => refresh(place, record, method))
    try {
      return await within(revalidationMs, refreshed, () => {
        tagBackoff.failed(name)
        note(story, place, 'timeout')
        return notConfirmed
      })
    } catch (error) {
      if (error instanceof TagGone) {
        note(story, place, String(error.status))
        return ownWalk ? { outcome: 'stale-served', warning: refused } : { no: error.status }
      }
      if (!(error instanceof UpstreamError)) throw error
      note(story, place, describe(error))
      return notConfirmed
    }
  }

  /** Another replica may have done so since. */
  async function refresh(place: TagPlace, before: TagRecord, method: 'GET' | 'HEAD'): Promise<Checked> {
    const record = await catalog.reread(before)
    const isFresh = freshness(place.upstream.revalidation, record.entry.checkedAt, now()) === 'fresh'
    return isFresh ? { outcome: 'revalidated' } : revalidate(place, record, method)
  }

  /** Asks whether the tag is still what is cached, and moves it when it is not. Throws for trouble and for a no. */
  async function revalidate(place: TagPlace, record: TagRecord, method: 'GET' | 'HEAD'): Promise<Checked> {
    const name = nameOf(place)
    try {
      const head = await questions.headManifest(place, place.key.tag, revalidationMs)
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
      const found =
        (await manifests.linked(place, head.digest)) ??
        (await manifests.obtain(place, head.digest, revalidationMs))
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
    const learned = { digest, size, mediaType, checkedAt: now(), walks: mergeWalks([...before, ...walks]) }
    const linked = await manifests.linked(place, digest)
    if (linked)
      admission.tag(place.key, { digest, mediaType: linked.mediaType, size: linked.bytes.length }, walks)
    else catalog.setPending(place.key, learned)
    return learned
  }

  function unaskableUntil(place: TagPlace): number {
    return Math.max(upstreamUnaskableUntil(place), tagBackoff.until(nameOf(place)))
  }

  function upstreamUnaskableUntil({ upstream }: TagPlace): number {
    return refusalOf(upstream) ? Number.POSITIVE_INFINITY : health.revalidateAt(upstream)
  }

  return { check, learn, unaskableUntil }
}

function nameOf({ key: { upstreamId, repository, tag } }: TagPlace): string {
  return keyOf(upstreamId, repository, tag)
}

/** The upstream is well and says no to a tag that is cached. */
class TagGone extends Error {
  override readonly name = 'TagGone'
  readonly status: number
  constructor(status: number) {
    super('the upstream no longer serves the tag')
    this.status = status
  }
}
