import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { type Eligible, eligibleUpstreams } from '../route-table.ts'
import type { LinkEntry, LinkKey } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { Catalog } from './catalog.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import type { Fill, FillSource, Fills, OpenedSource } from './fill.ts'
import { nameOf } from './health.ts'
import { leaseMs, leaseUntil, tell } from './manifests.ts'
import type { BlobAnswer, BlobRequest } from './pull.ts'
import { type FoundAnswer, isNo, type No, type Questions } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
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
  /** Monotonic, in milliseconds. */
  readonly monotonicNow: () => number
}

/** Opens a blob's transfer again at a byte, for resuming and for readers that must go alone. */
export type BlobSources = (place: Eligible, digest: Digest) => FillSource

/** Where a blob can be had from: linked and stored, or coming in. */
type Held = { readonly size: number } | { readonly fill: Fill }

export function createBlobs(parts: BlobParts): { blob(request: BlobRequest): Promise<BlobAnswer> } {
  const { catalog, content, questions, fills, commits, uses, sources, monotonicNow } = parts
  const obtaining = createSingleFlight<Held | No>()
  /** Repositories that have shown, each by an answer of its own, that they may serve what a fill is bringing. */
  const proven = new WeakMap<Fill, Map<string, LinkKey>>()

  async function blob(request: BlobRequest): Promise<BlobAnswer> {
    const { digest, story, method } = request
    const eligible = eligibleUpstreams(request.registry, request.repository, request.ns)
    if (eligible.length === 0) throw new OciError(request.ns === '' ? 'BLOB_UNKNOWN' : 'NAME_UNKNOWN')

    const linked = await linkedPlaces(eligible, digest)
    for (const { place, link } of linked) {
      const answer = method === 'HEAD' ? headOf(digest, link.size) : await fromStore(request, place, link)
      if (!answer) continue
      tell(story, place, 'hit')
      return answer
    }
    for (const place of eligible) {
      const fill = fillFor(place, digest)
      if (!fill) continue
      tell(story, place, 'miss')
      return fromFill(request, fill)
    }

    const candidates = await inOrderOfPromise(
      eligible,
      linked.map(({ place }) => place),
      digest,
    )
    const options = { by: 'digest', unknown: 'BLOB_UNKNOWN', story, now: monotonicNow } as const
    if (method === 'HEAD') {
      const { candidate, found } = await walk(candidates, (place, ms) => look(place, digest, ms), options)
      tell(story, candidate, 'miss')
      return headOf(digest, found.size)
    }
    const { candidate, found } = await walk(candidates, (place, ms) => obtain(place, digest, ms), options)
    tell(story, candidate, 'miss')
    if ('fill' in found) return fromFill(request, found.fill)
    const body = await content.open(digest, found.size)
    if (!body) throw new OciError('UNAVAILABLE', { retryAfterSeconds: 1 })
    story.source = body.bytes ? 'memory' : 'disk'
    return { digest, mediaType: undefined, size: found.size, body, lease: undefined }
  }

  async function linkedPlaces(eligible: readonly Eligible[], digest: Digest) {
    const links = await Promise.all(
      eligible.map(async (place) => ({ place, link: await catalog.link(linkKeyOf(place, digest)) })),
    )
    return links.flatMap(({ place, link }) => (link ? [{ place, link }] : []))
  }

  /** Undefined when the bytes are gone, evicted or spoiled. */
  async function fromStore(
    { digest, story }: BlobRequest,
    place: Eligible,
    link: LinkEntry,
  ): Promise<BlobAnswer | undefined> {
    const body = await content.open(digest, link.size)
    if (!body) return undefined
    const use = uses.link(linkKeyOf(place, digest), 1)
    const lease = body.bytes && leaseUntil(monotonicNow() + leaseMs, monotonicNow, use)
    story.source = body.bytes ? 'memory' : 'disk'
    return { digest, mediaType: undefined, size: link.size, body, lease }
  }

  function fromFill({ digest, method, story }: BlobRequest, fill: Fill): BlobAnswer {
    story.source = 'fill'
    const body = method === 'GET' ? fill.openBody() : undefined
    return { digest, mediaType: undefined, size: fill.size, body, lease: undefined }
  }

  /** The running fill that this repository may read already. */
  function fillFor(place: Eligible, digest: Digest): Fill | undefined {
    const fill = fills.running(place.upstream.origin, digest)
    return fill && proven.get(fill)?.has(placeKey(place)) ? fill : undefined
  }

  /** First those that were linked, then where a cached manifest lists it. */
  async function inOrderOfPromise(
    eligible: readonly Eligible[],
    linked: readonly Eligible[],
    digest: Digest,
  ) {
    const ranked = await Promise.all(
      eligible.map(async (place) => {
        if (linked.includes(place)) return { place, rank: 0 }
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
    const stored = await possessed(place, digest)
    if (stored !== undefined) link(place, digest, stored)
    const { upstream, repository } = place
    return { size: stored ?? head.size ?? (await catalog.mention(upstream.id, repository, digest))?.size }
  }

  /**
   * The right and the bytes, from one upstream. Bytes that this origin has sent before, or is sending now, are not sent
   * again: its yes to a HEAD gives the right. Otherwise they are, although another origin's may be here already.
   */
  function obtain(place: Eligible, digest: Digest, ms: number): Promise<Held | No> {
    return obtaining(placeKey(place) + digest, async () => {
      const refusal = refusalOf(place.upstream)
      if (refusal) throw refusal
      const running = fills.running(place.upstream.origin, digest)
      const stored = running ? undefined : await possessed(place, digest)
      if (running || stored !== undefined) {
        const head = await questions.headBlob(place, digest, ms)
        if (isNo(head) && head.no === 404) return head
        if (!isNo(head) && running) return join(place, digest, running)
        if (!isNo(head) && stored !== undefined) {
          link(place, digest, stored)
          return { size: stored }
        }
      }
      const answer = await questions.getBlob(place, digest, ms)
      return isNo(answer) ? answer : { fill: await start(place, digest, answer) }
    })
  }

  async function possessed({ upstream }: Eligible, digest: Digest): Promise<number | undefined> {
    const size = await catalog.possession(upstream.origin, digest)
    return size !== undefined && (await content.has(digest, size)) ? size : undefined
  }

  function link(place: Eligible, digest: Digest, size: number): void {
    const key = linkKeyOf(place, digest)
    const entry = linkEntryOf(place, size)
    catalog.rememberLink(key, entry)
    commits.add('link', () => catalog.saveLink(key, entry))
  }

  function join(place: Eligible, digest: Digest, fill: Fill): Held {
    proven.get(fill)?.set(placeKey(place), linkKeyOf(place, digest))
    commits.add('link', async () => {
      // the fill may be past writing the links it knew of
      if ((await fill.done) && fill.size !== undefined) link(place, digest, fill.size)
    })
    return { fill }
  }

  async function start(place: Eligible, digest: Digest, answer: FoundAnswer): Promise<Fill> {
    const { upstream, repository } = place
    const running = fills.running(upstream.origin, digest)
    if (running) {
      // another repository of this origin was quicker, and this one's own answer was a yes
      answer.body.destroy()
      join(place, digest, running)
      return running
    }
    const mention = await catalog.mention(upstream.id, repository, digest)
    const said = answer.headers.size
    if (mention && said !== undefined && mention.size !== said) {
      answer.body.destroy()
      throw new UpstreamError(
        'invalid-response',
        `${nameOf(upstream)}: a blob has ${said} bytes instead of ${mention.size}`,
      )
    }
    const fill: Fill = fills.start({
      origin: upstream.origin,
      digest,
      size: said ?? mention?.size,
      first: openedOf(answer),
      source: sources(place, digest),
      afterCommit: async (size) => {
        for (const key of proven.get(fill)?.values() ?? []) {
          const entry = linkEntryOf(place, size)
          catalog.rememberLink(key, entry)
          await catalog.saveLink(key, entry)
        }
      },
    })
    proven.set(fill, new Map([[placeKey(place), linkKeyOf(place, digest)]]))
    return fill
  }

  return { blob }
}

export function openedOf({ status, headers, body }: FoundAnswer, start = 0): OpenedSource {
  return { body, start: status === 206 ? start : 0, size: headers.size, endsByClose: headers.endsByClose }
}

function headOf(digest: Digest, size: number | undefined): BlobAnswer {
  return { digest, mediaType: undefined, size, body: undefined, lease: undefined }
}

function placeKey({ upstream, repository }: Eligible): string {
  return keyOf(upstream.id, repository)
}

function linkKeyOf({ upstream, repository }: Eligible, digest: Digest): LinkKey {
  return { upstreamId: upstream.id, repository, kind: 'blob', digest }
}

function linkEntryOf({ upstream }: Eligible, size: number): LinkEntry {
  return { mediaType: 'application/octet-stream', size, origin: upstream.origin, children: [] }
}
