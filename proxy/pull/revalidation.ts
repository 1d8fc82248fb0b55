import type { Digest } from '../oci/digest.ts'
import type { PendingTag, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { type Asked, mergeWalks } from './admission.ts'
import type { TagRecord } from './catalog.ts'
import { type Checks, nameOf, revalidationMs, type TagPlace, unconfirmed } from './checks.ts'
import { orAbsent } from './failure.ts'
import { freshness } from './freshness.ts'
import type { DigestManifests, ManifestParts } from './manifests.ts'
import type { Outcome, PullRequest } from './pull.ts'
import { isNo, type ManifestHead, type No, refusesHead } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { describe, note } from './walk.ts'

const refused = 'upstream no longer serves this tag; serving cached content'

export interface RevalidationParts extends Pick<ManifestParts, 'catalog' | 'questions' | 'admission'> {
  readonly manifests: DigestManifests
  readonly checks: Checks
  /** Milliseconds since the epoch. */
  readonly now: () => number
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
  learn(
    place: TagPlace,
    head: ManifestHead,
    walks: readonly Walk[],
    asked: Asked,
  ): Promise<PendingTag | undefined>
}

const notConfirmed: Checked = { outcome: 'stale-served', warning: unconfirmed }

export function createRevalidation(parts: RevalidationParts): Revalidation {
  const { catalog, questions, admission, manifests, checks, now } = parts
  const refreshes = createSingleFlight<Checked>()

  async function check(
    { story, method }: PullRequest,
    place: TagPlace,
    record: TagRecord,
    ownWalk: boolean,
  ): Promise<Checked | No> {
    // a registry that has not been here before is on a cold walk: what single tags do holds nothing back then
    if ((ownWalk ? checks.unaskableUntil(place) : checks.upstreamUnaskableUntil(place)) > 0)
      return notConfirmed
    const refreshed = refreshes(keyOf(nameOf(place), method), () => {
      // of one's own tags the back-off alone decides when they are asked for again
      if (ownWalk) questions.forgetNo(place, `manifests/${place.key.tag}`)
      return checks.learning(place, () => refresh(place, record, method))
    })
    const checked = await checks.inTime(place, refreshed).catch(orNoCheck)
    if (checked && 'outcome' in checked) return checked
    note(story, place, checked ? wordOf(checked) : 'timeout')
    if (!(checked instanceof TagGone)) return notConfirmed
    return ownWalk ? { outcome: 'stale-served', warning: refused } : { no: checked.status }
  }

  /** Asks whether the tag is still what is cached, and moves it when it is not. Throws for trouble and for a no. */
  async function refresh(place: TagPlace, before: TagRecord, method: 'GET' | 'HEAD'): Promise<Checked> {
    const record = await catalog.reread(before)
    // another replica may have done so since
    const isFresh = freshness(place.upstream.revalidation, record.entry.checkedAt, now()) === 'fresh'
    if (!isFresh) await revalidate(place, record, method)
    return { outcome: 'revalidated' }
  }

  async function revalidate(place: TagPlace, record: TagRecord, method: 'GET' | 'HEAD'): Promise<void> {
    const asked = admission.asking(place.key)
    const head = await questions.headManifest(place, place.key.tag, revalidationMs)
    if (isNo(head)) {
      // some know HEAD for less than they give: what is cached of them was given
      if (head.no !== 404 && !refusesHead(head)) throw new TagGone(head.no)
      return fetch(place, record)
    }
    if (head.digest === undefined) return fetch(place, record)
    if (head.digest === record.entry.digest) return catalog.touchTag(record, now())
    // a later GET fetches it: looking never does
    if (method === 'HEAD' && (await learn(place, head, [], asked))) return
    await move(place, head.digest, asked)
  }

  async function fetch(place: TagPlace, record: TagRecord): Promise<void> {
    const asked = admission.asking(place.key)
    const fetched = await questions.getManifest(place, place.key.tag, revalidationMs)
    if (isNo(fetched)) throw new TagGone(fetched.no)
    if (fetched.digest === record.entry.digest) await catalog.touchTag(record, now())
    else admission.manifest(place, fetched, { key: place.key, walks: [], asked })
  }

  async function move(place: TagPlace, digest: Digest, asked: Asked): Promise<void> {
    const found =
      (await manifests.linked(place, digest).catch(orAbsent)) ??
      (await manifests.obtain(place, digest, revalidationMs))
    if (isNo(found)) throw new TagGone(found.no)
    const { mediaType, bytes } = found
    admission.tag(place.key, { digest, mediaType, size: bytes.length }, [], asked)
  }

  /**
   * Keeps what a HEAD said, unless it is outrun: at once as the tag where the manifest is linked here already, as pending
   * otherwise. Undefined when it did not say enough to answer a client.
   */
  async function learn(
    place: TagPlace,
    { digest, size, mediaType }: ManifestHead,
    walks: readonly Walk[],
    asked: Asked,
  ): Promise<PendingTag | undefined> {
    if (digest === undefined || size === undefined) return undefined
    const before = catalog.pending(place.key)?.walks ?? []
    const said = { digest, size, mediaType, askedAt: asked.at, checkedAt: now() }
    const learned = { ...said, walks: mergeWalks([...before, ...walks]) }
    const linked = await manifests.linked(place, digest).catch(orAbsent)
    if (admission.isOutrun(place.key, asked)) return learned
    if (!linked) await catalog.setPending(place.key, learned)
    else admission.tag(place.key, { ...linked, size: linked.bytes.length }, walks, asked)
    return learned
  }

  return { check, learn }
}

function orNoCheck(error: unknown): UpstreamError | TagGone {
  if (error instanceof UpstreamError || error instanceof TagGone) return error
  throw error
}

function wordOf(error: UpstreamError | TagGone): string {
  return error instanceof TagGone ? String(error.status) : describe(error)
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
