import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { type Eligible, eligibleUpstreams } from '../route-table.ts'
import type { LinkEntry, LinkKey } from '../store/index-store.ts'
import { placeKey } from './admission.ts'
import type { Catalog, LinkFacts } from './catalog.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import { storedOr } from './failure.ts'
import type { Fill, FillSource, Fills, OpenedSource } from './fill.ts'
import { ignore } from './fill-transfer.ts'
import { tell } from './manifests.ts'
import type { BlobAnswer, BlobRequest } from './pull.ts'
import { type FoundAnswer, isNo, type No, type Questions } from './questions.ts'
import type { Share, Sharing } from './sharing.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { createStoredBlobs, headOf, linkKeyOf } from './stored-blobs.ts'
import { refusalOf } from './trouble.ts'
import type { Uses } from './uses.ts'
import { walk } from './walk.ts'

export interface BlobParts {
  readonly catalog: Catalog
  readonly content: Content
  readonly questions: Questions
  readonly fills: Fills
  readonly commits: Commits
  readonly uses: Uses
  readonly sources: BlobSources
  readonly sharing: Sharing
  /** Monotonic, in milliseconds. */
  readonly monotonicNow: () => number
}

/** Opens a blob's transfer again at a byte, for resuming and for readers that must go alone. */
export type BlobSources = (place: Eligible, digest: Digest) => FillSource

interface LinkedPlace {
  readonly place: Eligible
  readonly link: LinkFacts
}

/** Where a blob can be had from: linked and stored, or coming in. */
type Held = { readonly size: number } | { readonly fill: Fill }

export function createBlobs(parts: BlobParts): { blob(request: BlobRequest): Promise<BlobAnswer> } {
  const { catalog, content, questions, fills, commits, sources, sharing, monotonicNow } = parts
  const stored = createStoredBlobs(parts)
  const obtaining = createSingleFlight<Held | No>()
  /** Repositories that have shown, each by an answer of its own, that they may serve what a fill is bringing. */
  const proven = new WeakMap<Fill, Map<string, LinkKey>>()

  async function blob(request: BlobRequest): Promise<BlobAnswer> {
    const eligible = eligibleUpstreams(request.registry, request.repository, request.ns)
    if (eligible.length === 0) throw new OciError(request.ns === '' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN')
    const linked = await linkedPlaces(eligible, request.digest)
    const bring = async (request: BlobRequest) =>
      fromRunning(request, eligible) ??
      fromUpstreams(request, await inOrderOfPromise(eligible, linked, request.digest))
    const answer = await storedOr(fromLinks(request, linked, bring), () => bring(request))
    if (answer.location !== undefined) request.story.outcome = 'redirect'
    return answer
  }

  /** Undefined when none is linked whose bytes are here. */
  async function fromLinks(
    request: BlobRequest,
    linked: readonly LinkedPlace[],
    instead: (request: BlobRequest) => Promise<BlobAnswer>,
  ): Promise<BlobAnswer | undefined> {
    const { digest, method, story } = request
    for (const { place, link } of linked) {
      const answer =
        method === 'HEAD'
          ? headOf(digest, link.size)
          : await stored.answer(request, link.size, place, instead)
      if (!answer) continue
      tell(story, place, 'hit')
      return answer
    }
    return undefined
  }

  /** Undefined when nothing is running that these repositories may read already. */
  function fromRunning(request: BlobRequest, eligible: readonly Eligible[]): BlobAnswer | undefined {
    for (const place of eligible) {
      const fill = fills.running(place.upstream.origin, request.digest)
      if (!fill || !proven.get(fill)?.has(placeKey(linkKeyOf(place, request.digest)))) continue
      tell(request.story, place, 'miss')
      return fromFill(request, fill)
    }
    return undefined
  }

  async function fromUpstreams(
    request: BlobRequest,
    candidates: readonly Eligible[],
    attempts = 2,
  ): Promise<BlobAnswer> {
    const { digest, method, story } = request
    const options = { by: 'digest', unknown: 'BLOB_UNKNOWN', story, now: monotonicNow } as const
    if (method === 'HEAD') {
      const { candidate, found } = await walk(candidates, (place, ms) => look(place, digest, ms), options)
      tell(story, candidate, 'miss')
      return headOf(digest, found.size)
    }
    const { candidate, found } = await walk(candidates, (place, ms) => obtain(place, digest, ms), options)
    tell(story, candidate, 'miss')
    if ('fill' in found) return fromFill(request, found.fill)
    // evicted, or found to be spoiled, since
    const anew = async (request: BlobRequest) => {
      if (attempts === 1) throw new OciError('UNAVAILABLE', { retryAfterSeconds: 1 })
      return fromUpstreams(request, candidates, attempts - 1)
    }
    return storedOr(stored.answer(request, found.size, candidate, anew), () => anew(request))
  }

  async function linkedPlaces(eligible: readonly Eligible[], digest: Digest): Promise<LinkedPlace[]> {
    const links = await Promise.all(
      eligible.map(async (place) => ({ place, link: await catalog.link(linkKeyOf(place, digest)) })),
    )
    return links.flatMap(({ place, link }) => (link ? [{ place, link }] : []))
  }

  function fromFill({ digest, method, story }: BlobRequest, fill: Fill): BlobAnswer {
    story.source = 'fill'
    const body = method === 'GET' ? fill.openBody() : undefined
    return { digest, mediaType: undefined, size: fill.size, body, lease: undefined }
  }

  /** First those that were linked, then where a cached manifest lists it. */
  async function inOrderOfPromise(
    eligible: readonly Eligible[],
    linked: readonly LinkedPlace[],
    digest: Digest,
  ) {
    const ranked = await Promise.all(
      eligible.map(async (place) => {
        if (linked.some((one) => one.place === place)) return { place, rank: 0 }
        const mention = await catalog.mention(place.upstream.id, place.repository, digest)
        return { place, rank: mention ? 1 : 2 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank).map(({ place }) => place)
  }

  /** HEAD: never starts a fill. Links where the bytes are here and this origin is known to have sent them. */
  async function look(
    place: Eligible,
    digest: Digest,
    ms: number,
  ): Promise<{ size: number | undefined } | No> {
    const head = await questions.headBlob(place, digest, ms)
    if (isNo(head)) return head
    const size = await possessed(place, digest)
    if (size !== undefined) link(place, digest, size)
    const { upstream, repository } = place
    return { size: size ?? head.size ?? (await catalog.mention(upstream.id, repository, digest))?.size }
  }

  /**
   * The right and the bytes, from one upstream. Bytes that this origin has sent before, or is sending now, are not sent
   * again: its yes to a HEAD gives the right. Otherwise they are, although another origin's may be here already.
   */
  function obtain(place: Eligible, digest: Digest, ms: number): Promise<Held | No> {
    return obtaining(keyOf(place.upstream.id, place.repository, digest), async () => {
      const refusal = refusalOf(place.upstream)
      if (refusal) throw refusal
      return (await held(place, digest, ms)) ?? bring(place, digest, ms)
    })
  }

  async function bring(place: Eligible, digest: Digest, ms: number): Promise<Held | No> {
    const share = await sharing.claim(place.upstream.origin, digest)
    try {
      const found = await (share.isShared
        ? obtainShared(share, place, digest, ms)
        : transfer(share, place, digest, ms))
      if ('fill' in found) share.began(found.fill)
      else share.end()
      return found
    } catch (error) {
      share.end()
      throw error
    }
  }

  /** What this origin has sent before, or is sending now: this repository's where it says yes to a HEAD, or its no. */
  async function held(place: Eligible, digest: Digest, ms: number): Promise<Held | No | undefined> {
    const { origin } = place.upstream
    if (!fills.running(origin, digest) && (await possessed(place, digest)) === undefined) return undefined
    const head = await questions.headBlob(place, digest, ms)
    if (isNo(head)) return head.no === 404 ? head : undefined
    return take(place, digest)
  }

  /** Another replica may have ended it before we asked who brings it, or may bring it now. */
  async function obtainShared(share: Share, place: Eligible, digest: Digest, ms: number): Promise<Held | No> {
    const until = monotonicNow() + ms
    const left = () => Math.max(1, until - monotonicNow())
    if (share.follows) {
      const first = await followed(share, place, digest, ms)
      if (first && 'no' in first) return first
      if (first) return { fill: await start(place, digest, first, share) }
    }
    return (await held(place, digest, left())) ?? transfer(share, place, digest, left())
  }

  /** The right and the bytes, asked for at once: without the right nobody gets any of them. Undefined where it is on us. */
  async function followed(
    share: Share,
    place: Eligible,
    digest: Digest,
    ms: number,
  ): Promise<OpenedSource | No | undefined> {
    const following = share.follow(0, AbortSignal.timeout(ms))
    following.catch(ignore)
    let isGranted = false
    try {
      const head = await questions.headBlob(place, digest, ms)
      isGranted = !isNo(head)
      if (isNo(head)) return head.no === 404 ? head : undefined
      return await following
    } finally {
      if (!isGranted) void following.then((opened) => opened?.body.destroy(), ignore)
    }
  }

  async function transfer(share: Share, place: Eligible, digest: Digest, ms: number): Promise<Held | No> {
    const answer = await questions.getBlob(place, digest, ms)
    return isNo(answer) ? answer : { fill: await start(place, digest, share.reads(openedOf(answer)), share) }
  }

  /** What this repository's yes gives it the right to; undefined when it ended badly or was evicted meanwhile. */
  async function take(place: Eligible, digest: Digest): Promise<Held | undefined> {
    const running = fills.running(place.upstream.origin, digest)
    if (running) return join(place, digest, running)
    const size = await possessed(place, digest)
    if (size === undefined) return undefined
    link(place, digest, size)
    return { size }
  }

  async function possessed({ upstream }: Eligible, digest: Digest): Promise<number | undefined> {
    const size = await catalog.possession(upstream.origin, digest)
    return size !== undefined && (await content.has(digest, size)) ? size : undefined
  }

  function link(place: Eligible, digest: Digest, size: number): void {
    const key = linkKeyOf(place, digest)
    const entry = linkEntryOf(place, size)
    catalog.rememberLink(key, entry)
    commits.add('link', placeKey(key), async () => {
      // what nothing linked may have been deleted since it was seen: then whoever wants it next brings it again
      if (await content.retain(digest, size)) await catalog.saveLink(key, entry)
    })
  }

  function join(place: Eligible, digest: Digest, fill: Fill): Held {
    prove(place, digest, fill)
    // in no order with the rest of the repository, which would wait for the fill
    commits.add('link', `${placeKey(linkKeyOf(place, digest))} ${digest}`, async () => {
      // the fill may be past writing the links it knew of
      if ((await fill.done) && fill.size !== undefined) link(place, digest, fill.size)
    })
    return { fill }
  }

  function prove(place: Eligible, digest: Digest, fill: Fill): void {
    const keys = proven.get(fill) ?? new Map<string, LinkKey>()
    const key = linkKeyOf(place, digest)
    proven.set(fill, keys.set(placeKey(key), key))
  }

  async function start(place: Eligible, digest: Digest, first: OpenedSource, share: Share): Promise<Fill> {
    const { upstream, repository } = place
    // the source's word goes before a descriptor's: of two manifests that list it one may be wrong, and the digest decides
    const size = first.size ?? (await catalog.mention(upstream.id, repository, digest))?.size
    const fill: Fill = fills.start({
      origin: upstream.origin,
      digest,
      size,
      first,
      source: share.sourceOf(sources(place, digest), {
        has: async () => (await possessed(place, digest)) !== undefined,
        open: async (start) => stored.source(place, digest, await possessed(place, digest), start),
      }),
      other: share.other,
      afterCommit: (size) =>
        commits.persist(async () => {
          for (const key of proven.get(fill)?.values() ?? []) {
            const entry = linkEntryOf(place, size)
            catalog.rememberLink(key, entry)
            await catalog.saveLink(key, entry)
          }
        }),
    })
    prove(place, digest, fill)
    return fill
  }

  return { blob }
}

export function openedOf({ status, headers, body }: FoundAnswer, start = 0): OpenedSource {
  const { size, endsByClose } = headers
  return { body, start: status === 206 ? start : 0, size, endsByClose, givesChunks: true }
}

function linkEntryOf({ upstream }: Eligible, size: number): LinkEntry {
  return { mediaType: 'application/octet-stream', size, origin: upstream.origin, children: [] }
}
