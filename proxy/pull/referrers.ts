import { algorithmOf, type Digest, digestOf, hexOf } from '../oci/digest.ts'
import { essenceOf, indexMediaType } from '../oci/manifest.ts'
import type { Eligible } from '../route-table.ts'
import type { TagKey, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { Admission } from './admission.ts'
import type { Catalog, TagRecord } from './catalog.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import { freshness } from './freshness.ts'
import { eligibleOf, linkKeyOf, tell } from './manifests.ts'
import type { ListAnswer, Outcome, Pull, PullRequest } from './pull.ts'
import { isNo, type No, type Questions } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { nextPage } from './tag-lists.ts'
import { refusalOf, toOciError } from './trouble.ts'
import { coldWalkMs, describe, note } from './walk.ts'

export interface ReferrersParts {
  readonly catalog: Catalog
  readonly content: Content
  readonly questions: Questions
  readonly admission: Admission
  readonly commits: Commits
  readonly now: () => number
  readonly monotonicNow: () => number
}

type ReferrersRequest = Parameters<Pull['referrers']>[0]

const maxPages = 20
const emptyIndex = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests: [] }))

/**
 * Lists what refers to a subject ("Listing Referrers" of the distribution specification): the upstreams that have the
 * subject first, each by its API or else by the tag schema; cached as a tag is. Empty only when all of them said so.
 */
export function createReferrers(parts: ReferrersParts): Pick<Pull, 'referrers'> {
  const { catalog, content, questions, admission, commits, now, monotonicNow } = parts
  const fetches = createSingleFlight<Buffer | No>()

  async function referrers(request: ReferrersRequest): Promise<ListAnswer> {
    const { subject, story } = request
    const places = await placesOf(request, subject)
    const cached = places.find(({ record }) => record !== undefined)
    if (
      cached?.record &&
      freshness(cached.upstream.revalidation, cached.record.entry.checkedAt, now()) === 'fresh'
    ) {
      const body = await content.bytes(cached.record.entry.digest, cached.record.entry.size)
      if (body) return tellAndAnswer(request, cached, body, 'hit')
    }
    const { answered, troubles } = await ask(places, request)
    if (answered) {
      keep(answered.place, request, answered.body)
      return tellAndAnswer(request, answered.place, answered.body, cached ? 'revalidated' : 'miss')
    }
    if (troubles.length === 0) {
      keep(places[0]!, request, emptyIndex)
      return tellAndAnswer(request, places[0]!, emptyIndex, 'miss')
    }
    const stale =
      cached?.record && (await content.bytes(cached.record.entry.digest, cached.record.entry.size))
    if (!cached || !stale) throw toOciError(troubles)
    tell(story, cached, 'stale-served')
    return answerOf(request, stale, 'upstream could not be asked; serving cached content')
  }

  async function placesOf(
    request: PullRequest,
    subject: Digest,
  ): Promise<(Eligible & { key: TagKey; record: TagRecord | undefined })[]> {
    const own: Walk = { registry: request.registry.key, ns: request.ns }
    const ranked = await Promise.all(
      eligibleOf(request).map(async (place) => {
        const key = keyFor(place, subject)
        const record = await catalog.tag(key)
        const walked = record?.entry.walks.some(
          ({ registry, ns }) => registry === own.registry && ns === own.ns,
        )
        const linked = await catalog.link(linkKeyOf(place, subject))
        return { ...place, key, record: walked ? record : undefined, rank: linked ? 0 : 1 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank)
  }

  /** The first that knows a referrer. A registry answers with an empty list for what it does not have: that goes on. */
  async function ask(places: readonly Eligible[], { subject, story }: ReferrersRequest) {
    const troubles: UpstreamError[] = []
    const endsAt = monotonicNow() + coldWalkMs
    for (const place of places) {
      try {
        const body = await fetch(place, subject, Math.max(1, Math.ceil(endsAt - monotonicNow())))
        if (!isNo(body) && manifestsOf(body).length > 0) return { answered: { place, body }, troubles }
        note(story, place, isNo(body) ? String(body.no) : 'no referrers')
      } catch (error) {
        if (!(error instanceof UpstreamError)) throw error
        note(story, place, describe(error))
        troubles.push(error)
      }
    }
    return { answered: undefined, troubles }
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

  function keep(place: Eligible, request: ReferrersRequest, body: Buffer): void {
    const digest = digestOf(body)
    content.keep(digest, body)
    commits.add('referrers', () => content.store(digest, body))
    const own = { registry: request.registry.key, ns: request.ns }
    admission.tag(keyFor(place, request.subject), { digest, mediaType: indexMediaType, size: body.length }, [
      own,
    ])
  }

  function tellAndAnswer(
    request: ReferrersRequest,
    place: Eligible,
    body: Buffer,
    outcome: Outcome,
  ): ListAnswer {
    tell(request.story, place, outcome)
    return answerOf(request, body)
  }

  return { referrers }
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
