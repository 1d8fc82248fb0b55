import { algorithmOf, type Digest, digestOf, hexOf } from '../oci/digest.ts'
import { indexMediaType } from '../oci/manifest.ts'
import type { Eligible } from '../route-table.ts'
import type { TagKey, Walk } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { type Admission, hasWalk, placeKey } from './admission.ts'
import type { Catalog, TagRecord } from './catalog.ts'
import { type Checks, revalidationMs, type TagPlace, unconfirmed } from './checks.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import { orUnreadable } from './failure.ts'
import { freshness } from './freshness.ts'
import { eligibleOf, linkKeyOf, tell } from './manifests.ts'
import type { ListAnswer, Pull, PullRequest } from './pull.ts'
import { isNo, type No, type Questions } from './questions.ts'
import { createReferrersSource, formatIndex, manifestsOf, type ReferrersList } from './referrers-source.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { toOciError } from './trouble.ts'
import { coldWalkMs, describe, msOfOne, note, orTrouble } from './walk.ts'

export interface ReferrersParts {
  readonly catalog: Catalog
  readonly content: Content
  readonly questions: Questions
  readonly admission: Admission
  readonly commits: Commits
  readonly checks: Checks
  readonly now: () => number
  readonly monotonicNow: () => number
}

/** An upstream, with what is cached of its list. */
interface ReferrersPlace extends TagPlace {
  readonly record: TagRecord | undefined
}

type CachedPlace = ReferrersPlace & { readonly record: TagRecord }

interface Cached {
  readonly place: CachedPlace
  readonly body: Buffer
}

/** Listed before, in bytes that the store may not give. */
type Listed = Pick<Cached, 'place'> & Partial<Cached>

/** What a walk over the upstreams came to. */
interface Findings {
  /** The list to serve, and where it belongs; undefined when nobody can say. */
  readonly found: { readonly place: ReferrersPlace; readonly body: Buffer } | undefined
  readonly troubles: readonly UpstreamError[]
  /** For the trails of all who waited for it. */
  readonly said: readonly { readonly place: ReferrersPlace; readonly word: string }[]
}

type ReferrersRequest = Parameters<Pull['referrers']>[0]

const gone = 'upstream no longer lists these referrers; serving cached content'
const emptyIndex = formatIndex([])
const emptyDigest = digestOf(emptyIndex)

/**
 * Lists what refers to a subject ("Listing Referrers" of the distribution specification): the upstreams that have the
 * subject first; cached as a tag is. Empty only when all of them said so.
 */
export function createReferrers(parts: ReferrersParts): Pick<Pull, 'referrers'> {
  const { catalog, content, questions, admission, commits, checks, now, monotonicNow } = parts
  const source = createReferrersSource({ questions, now: monotonicNow })
  const walks = createSingleFlight<Findings>()

  async function referrers(request: ReferrersRequest): Promise<ListAnswer> {
    const places = await placesOf(request)
    const place = latestOf(places)
    const entry = place?.record.entry
    const body = entry && (await bytesOf(entry).catch(orUnreadable))
    if (place && Buffer.isBuffer(body)) return fromCache(request, places, { place, body })
    const withheld = body && place
    const { found, troubles, said } = await walks(keyOf(walkOf(request), withheld ? 'withheld' : ''), () =>
      walk(request, places, coldWalkMs, withheld && { place: withheld }),
    )
    for (const { place, word } of said) note(request.story, place, word)
    if (!found) throw body ?? toOciError(troubles)
    tell(request.story, found.place, 'miss')
    return answerOf(request, found.body)
  }

  async function bytesOf({ digest, size }: TagRecord['entry']): Promise<Buffer | undefined> {
    return digest === emptyDigest ? emptyIndex : content.bytes(digest, size)
  }

  /** As it is while fresh, and whatever a check comes to when it is not. */
  async function fromCache(
    request: ReferrersRequest,
    places: readonly ReferrersPlace[],
    cached: Cached,
  ): Promise<ListAnswer> {
    const { upstream, record } = cached.place
    if (freshness(upstream.revalidation, record.entry.checkedAt, now()) === 'fresh') {
      tell(request.story, cached.place, 'hit')
      return answerOf(request, cached.body)
    }
    const checked =
      checks.unaskableUntil(cached.place) > 0 ? unconfirmed : await check(request, places, cached)
    if (typeof checked === 'string') {
      tell(request.story, cached.place, 'stale-served')
      return answerOf(request, cached.body, checked)
    }
    tell(request.story, checked.place, 'revalidated')
    return answerOf(request, checked.body)
  }

  /** What the list is now; or why that cannot be said. */
  async function check(
    request: ReferrersRequest,
    places: readonly ReferrersPlace[],
    cached: Cached,
  ): Promise<NonNullable<Findings['found']> | string> {
    const { story, subject } = request
    const checking = walks(keyOf('check', walkOf(request)), () => {
      for (const place of places) source.forgetNo(place, subject)
      return checks.learning(cached.place, async () => {
        const findings = await walk(request, places, revalidationMs, cached)
        if (!findings.found) throw new NotConfirmed(findings)
        return findings
      })
    })
    const findings = await checks.inTime(cached.place, checking).catch(findingsOf)
    if (!findings) note(story, cached.place, 'timeout')
    for (const { place, word } of findings?.said ?? []) note(story, place, word)
    if (findings?.found) return findings.found
    return findings?.troubles.length === 0 ? gone : unconfirmed
  }

  /**
   * Ends at the first that knows a referrer. A registry answers with an empty list for what it does not have: that goes
   * on, and it is empty when all are well; but one that was not empty must be said to be by whoever listed it.
   */
  async function walk(
    request: ReferrersRequest,
    places: readonly ReferrersPlace[],
    ms: number,
    listed?: Listed,
  ): Promise<Findings> {
    const { answered, empty, troubles, said } = await ask(places, request.subject, ms)
    const place = listed?.place ?? places[0]!
    const wasEmpty = !listed || (listed.body !== undefined && manifestsOf(listed.body).length === 0)
    const isEmpty = troubles.length === 0 && (wasEmpty || empty.includes(place))
    const found = answered ?? (isEmpty ? { place, body: emptyIndex } : undefined)
    if (found) keep(request, found.place, found.body)
    return { found, troubles, said }
  }

  async function placesOf(request: ReferrersRequest): Promise<ReferrersPlace[]> {
    const { subject } = request
    const ranked = await Promise.all(
      eligibleOf(request).map(async (place) => {
        const key = keyFor(place, subject)
        const record = await catalog.tag(key)
        const walked = record && hasWalk(record.entry.walks, ownWalk(request))
        const linked = await catalog.link(linkKeyOf(place, subject))
        return { ...place, key, record: walked ? record : undefined, rank: linked ? 0 : 1 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank)
  }

  async function ask(places: readonly ReferrersPlace[], subject: Digest, ms: number) {
    const empty: ReferrersPlace[] = []
    const troubles: UpstreamError[] = []
    const said: { place: ReferrersPlace; word: string }[] = []
    const endsAt = monotonicNow() + ms
    for (const [position, place] of places.entries()) {
      const left = Math.max(1, Math.ceil(endsAt - monotonicNow()))
      const list = await source
        .list(place, subject, msOfOne(left, position === places.length - 1))
        .catch(orTrouble)
      said.push({ place, word: wordOf(list) })
      if (list instanceof UpstreamError) troubles.push(list)
      else if (isNo(list)) continue
      else if (list.isEmpty) empty.push(place)
      else return { answered: { place, body: list.body }, empty, troubles, said }
    }
    return { answered: undefined, empty, troubles, said }
  }

  /** A list that is what it was is only seen again: nothing of it is written. */
  function keep(request: ReferrersRequest, { key }: ReferrersPlace, body: Buffer): void {
    const digest = digestOf(body)
    const known = catalog.rememberedTag(key)
    if (known?.entry.digest === digest) {
      void catalog.touchTag(admission.walk(key, known, ownWalk(request)), now())
      return
    }
    content.keep(digest, body)
    commits.add('referrers', placeKey(key), () => content.store(digest, body))
    admission.tag(key, { digest, mediaType: indexMediaType, size: body.length }, [ownWalk(request)])
  }

  return { referrers }
}

/** Each record is what a whole walk came to, and the next may end at another upstream: the latest counts. */
function latestOf(places: readonly ReferrersPlace[]): CachedPlace | undefined {
  const cached = places.filter((place): place is CachedPlace => place.record !== undefined)
  return cached.toSorted((a, b) => seenAt(b) - seenAt(a))[0]
}

/** When it was checked is lost with the index. */
function seenAt({ record: { entry } }: CachedPlace): number {
  return Math.max(entry.writtenAt, entry.checkedAt)
}

function walkOf({ registry, repository, ns, subject }: ReferrersRequest): string {
  return keyOf(registry.key, repository, ns, subject)
}

function keyFor({ upstream, repository }: Eligible, subject: Digest): TagKey {
  return { upstreamId: upstream.id, repository, tag: `referrers/${algorithmOf(subject)}/${hexOf(subject)}` }
}

function ownWalk({ registry, ns }: PullRequest): Walk {
  return { registry: registry.key, ns }
}

function wordOf(list: ReferrersList | No | UpstreamError): string {
  if (list instanceof UpstreamError) return describe(list)
  if (isNo(list)) return String(list.no)
  return list.isEmpty ? 'no referrers' : 'referrers'
}

function answerOf({ query }: ReferrersRequest, body: Buffer, warning?: string): ListAnswer {
  const artifactType = query.get('artifactType')
  const filtered = artifactType === null ? body : filter(body, artifactType)
  const filtersApplied = artifactType === null ? undefined : 'artifactType'
  return { body: filtered, mediaType: indexMediaType, next: undefined, filtersApplied, warning }
}

function filter(body: Buffer, artifactType: string): Buffer {
  return formatIndex(
    manifestsOf(body).filter(
      (manifest) => (manifest as { artifactType?: unknown } | null)?.artifactType === artifactType,
    ),
  )
}

/** Some upstream is in trouble, or none knows of the list that is cached. */
class NotConfirmed extends Error {
  override readonly name = 'NotConfirmed'
  readonly findings: Findings
  constructor(findings: Findings) {
    super('the list of referrers could not be confirmed')
    this.findings = findings
  }
}

function findingsOf(error: unknown): Findings {
  if (error instanceof NotConfirmed) return error.findings
  throw error
}
