import { algorithmOf, type Digest, digestOf, hexOf } from '../oci/digest.ts'
import { essenceOf, indexMediaType } from '../oci/manifest.ts'
import type { Eligible } from '../route-table.ts'
import type { TagKey, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { type Admission, hasWalk, placeKey } from './admission.ts'
import type { Backoff } from './backoff.ts'
import type { Catalog, TagRecord } from './catalog.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import { freshness } from './freshness.ts'
import type { Health } from './health.ts'
import { eligibleOf, linkKeyOf, tell } from './manifests.ts'
import type { ListAnswer, Outcome, Pull, PullRequest } from './pull.ts'
import { isNo, type No, type Questions } from './questions.ts'
import { revalidationMs, unconfirmed } from './revalidation.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { nextPage } from './tag-lists.ts'
import { refusalOf, toOciError } from './trouble.ts'
import { coldWalkMs, describe, note } from './walk.ts'
import { within } from './within.ts'

export interface ReferrersParts {
  readonly catalog: Catalog
  readonly content: Content
  readonly questions: Questions
  readonly admission: Admission
  readonly commits: Commits
  readonly health: Health
  /** Of single tags and lists of referrers. On the monotonic clock. */
  readonly tagBackoff: Backoff
  readonly now: () => number
  readonly monotonicNow: () => number
}

/** An upstream, with what is cached of its list. */
interface ReferrersPlace extends Eligible {
  readonly key: TagKey
  readonly record: TagRecord | undefined
}

type CachedPlace = ReferrersPlace & { readonly record: TagRecord }

interface Answers {
  /** The first that knows a referrer. */
  readonly answered: { readonly place: ReferrersPlace; readonly body: Buffer } | undefined
  /** Those that have the list, with nothing in it. */
  readonly empty: readonly ReferrersPlace[]
  readonly troubles: readonly UpstreamError[]
}

type ReferrersRequest = Parameters<Pull['referrers']>[0]

const maxPages = 20
const gone = 'upstream no longer lists these referrers; serving cached content'
const emptyIndex = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests: [] }))

/**
 * Lists what refers to a subject ("Listing Referrers" of the distribution specification): the upstreams that have the
 * subject first, each by its API or else by the tag schema; cached as a tag is. Empty only when all of them said so.
 */
export function createReferrers(parts: ReferrersParts): Pick<Pull, 'referrers'> {
  const { catalog, content, questions, admission, commits, health, tagBackoff, now, monotonicNow } = parts
  const fetches = createSingleFlight<Buffer | No>()

  async function referrers(request: ReferrersRequest): Promise<ListAnswer> {
    const places = await placesOf(request, request.subject)
    const cached = latestOf(places)
    const body = cached && (await content.bytes(cached.record.entry.digest, cached.record.entry.size))
    if (body) return fromCache(request, places, cached, body)
    const { answered, troubles } = await ask(places, request, coldWalkMs)
    if (answered) return keep(request, answered.place, answered.body, 'miss')
    if (troubles.length > 0) throw toOciError(troubles)
    return keep(request, places[0]!, emptyIndex, 'miss')
  }

  /** As it is while fresh, and whatever a check comes to when it is not. */
  async function fromCache(
    request: ReferrersRequest,
    places: readonly ReferrersPlace[],
    cached: CachedPlace,
    body: Buffer,
  ): Promise<ListAnswer> {
    const { upstream, repository, key } = cached
    const { entry } = cached.record
    const stale = (warning: string) => {
      tell(request.story, cached, 'stale-served')
      return answerOf(request, body, warning)
    }
    if (freshness(upstream.revalidation, entry.checkedAt, now()) === 'fresh') {
      tell(request.story, cached, 'hit')
      return answerOf(request, body)
    }
    const name = keyOf(upstream.id, repository, key.tag)
    const isRefused = refusalOf(upstream) !== undefined
    if (isRefused || health.revalidateAt(upstream) > 0 || tagBackoff.until(name) > 0)
      return stale(unconfirmed)

    const asked = await within<Answers | undefined>(
      revalidationMs,
      ask(places, request, revalidationMs),
      () => undefined,
    )
    const { answered, empty = [], troubles = [] } = asked ?? {}
    if (answered) {
      tagBackoff.succeeded(name)
      return keep(request, answered.place, answered.body, 'revalidated')
    }
    if (asked && troubles.length === 0 && (empty.includes(cached) || manifestsOf(body).length === 0)) {
      tagBackoff.succeeded(name)
      return keep(request, cached, emptyIndex, 'revalidated')
    }
    tagBackoff.failed(name)
    return stale(asked && troubles.length === 0 ? gone : unconfirmed)
  }

  async function placesOf(request: PullRequest, subject: Digest): Promise<ReferrersPlace[]> {
    const own: Walk = { registry: request.registry.key, ns: request.ns }
    const ranked = await Promise.all(
      eligibleOf(request).map(async (place) => {
        const key = keyFor(place, subject)
        const record = await catalog.tag(key)
        const walked = record && hasWalk(record.entry.walks, own)
        const linked = await catalog.link(linkKeyOf(place, subject))
        return { ...place, key, record: walked ? record : undefined, rank: linked ? 0 : 1 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank)
  }

  /** Ends at the first that knows a referrer. A registry answers with an empty list for what it does not have: that goes on. */
  async function ask(
    places: readonly ReferrersPlace[],
    { subject, story }: ReferrersRequest,
    ms: number,
  ): Promise<Answers> {
    const empty: ReferrersPlace[] = []
    const troubles: UpstreamError[] = []
    const endsAt = monotonicNow() + ms
    for (const place of places) {
      try {
        const body = await fetch(place, subject, Math.max(1, Math.ceil(endsAt - monotonicNow())))
        if (!isNo(body) && manifestsOf(body).length > 0) {
          return { answered: { place, body }, empty, troubles }
        }
        if (!isNo(body)) empty.push(place)
        note(story, place, isNo(body) ? String(body.no) : 'no referrers')
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error
        note(story, place, describe(error))
        troubles.push(error)
      }
    }
    return { answered: undefined, empty, troubles }
  }

  function fetch(place: Eligible, subject: Digest, ms: number): Promise<Buffer | No> {
    return fetches(keyOf(place.upstream.id, place.repository, subject), async () => {
      const refusal = refusalOf(place.upstream)
      if (refusal) throw refusal
      return (await fromApi(place, subject, ms)) ?? fromTagSchema(place, subject, ms)
    })
  }

  /** All pages as one index; undefined where the upstream has no such API. */
  async function fromApi(place: Eligible, subject: Digest, ms: number): Promise<Buffer | undefined> {
    const manifests: unknown[] = []
    let query = ''
    for (let page = 0; page < maxPages; page++) {
      const found = await questions.getList(place, `referrers/${subject}${query}`, indexMediaType, ms)
      if (isNo(found) || essenceOf(found.answer.headers.contentType) !== indexMediaType) return undefined
      if (page === 0 && nextPage(found.answer.headers.link) === undefined) {
        manifestsOf(found.body)
        return found.body
      }
      manifests.push(...manifestsOf(found.body))
      const next = nextPage(found.answer.headers.link)
      if (next === undefined || `?${next}` === query) break
      query = `?${next}`
    }
    return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests }))
  }

  async function fromTagSchema(place: Eligible, subject: Digest, ms: number): Promise<Buffer | No> {
    const found = await questions.getManifest(
      place,
      `${algorithmOf(subject)}-${hexOf(subject).slice(0, 64)}`,
      ms,
    )
    if (isNo(found)) return found
    return essenceOf(found.mediaType) === indexMediaType ? found.bytes : { no: 404 }
  }

  function keep(request: ReferrersRequest, place: Eligible, body: Buffer, outcome: Outcome): ListAnswer {
    const digest = digestOf(body)
    content.keep(digest, body)
    commits.add('referrers', placeKey(keyFor(place, request.subject)), () => content.store(digest, body))
    const own = { registry: request.registry.key, ns: request.ns }
    admission.tag(keyFor(place, request.subject), { digest, mediaType: indexMediaType, size: body.length }, [
      own,
    ])
    tell(request.story, place, outcome)
    return answerOf(request, body)
  }

  return { referrers }
}

/** Each record is what a whole walk came to, and the next may end at another upstream: the latest counts. */
function latestOf(places: readonly ReferrersPlace[]): CachedPlace | undefined {
  const cached = places.filter((place): place is CachedPlace => place.record !== undefined)
  return cached.toSorted((a, b) => b.record.entry.writtenAt - a.record.entry.writtenAt)[0]
}

function keyFor({ upstream, repository }: Eligible, subject: Digest): TagKey {
  return { upstreamId: upstream.id, repository, tag: `referrers/${algorithmOf(subject)}/${hexOf(subject)}` }
}

function answerOf({ query }: ReferrersRequest, body: Buffer, warning?: string): ListAnswer {
  const artifactType = query.get('artifactType')
  const filtered = artifactType === null ? body : filter(body, artifactType)
  const filtersApplied = artifactType === null ? undefined : 'artifactType'
  return { body: filtered, mediaType: indexMediaType, next: undefined, filtersApplied, warning }
}

function filter(body: Buffer, artifactType: string): Buffer {
  const manifests = manifestsOf(body).filter(
    (manifest) => (manifest as { artifactType?: unknown } | null)?.artifactType === artifactType,
  )
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests }))
}

/** Throws UpstreamError where it is no index. */
function manifestsOf(body: Buffer): unknown[] {
  let index: { manifests?: unknown } | null
  try {
    index = JSON.parse(body.toString('utf8')) as typeof index
  } catch (cause) {
    throw new UpstreamError('invalid-response', 'the list of referrers is not JSON', { cause })
  }
  if (!Array.isArray(index?.manifests))
    throw new UpstreamError('invalid-response', 'the list of referrers is no index')
  return index.manifests
}
