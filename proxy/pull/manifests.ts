import type { Digest } from '../oci/digest.ts'
import { OciError } from '../oci/errors.ts'
import { isInvalid, readManifest } from '../oci/manifest.ts'
import { type Eligible, eligibleUpstreams } from '../route-table.ts'
import type { LinkKey } from '../store/index-store.ts'
import type { Admission } from './admission.ts'
import type { Catalog } from './catalog.ts'
import type { Content } from './content.ts'
import { orAbsent, storedOr } from './failure.ts'
import { nameOf } from './health.ts'
import type { Lease, ManifestAnswer, ManifestRequest, Outcome, PullRequest, Story } from './pull.ts'
import { isNo, type No, type Questions, refusesHead } from './questions.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import type { UseCell, Uses } from './uses.ts'
import { walk } from './walk.ts'

/** How long an answer may be repeated before the whole path is taken again, in milliseconds. */
export const leaseMs = 10_000

export interface ManifestParts {
  readonly catalog: Catalog
  readonly content: Content
  readonly questions: Questions
  readonly admission: Admission
  readonly uses: Uses
  /** Monotonic, in milliseconds. */
  readonly monotonicNow: () => number
}

/** Manifests by digest: what never goes stale. */
export interface DigestManifests {
  byDigest(request: ManifestRequest, digest: Digest): Promise<ManifestAnswer>
  /** The manifest from this upstream, from the cache where it is linked, and made servable otherwise. */
  obtain(place: Eligible, digest: Digest, firstByteMs: number): Promise<LinkedManifest | No>
  /** What is linked here and still has its bytes. Throws StoreUnavailableError when the store has them and does not give them. */
  linked(place: Eligible, digest: Digest): Promise<LinkedManifest | undefined>
}

export interface LinkedManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

export function createDigestManifests(parts: ManifestParts): DigestManifests {
  const { catalog, content, questions, admission, uses, monotonicNow } = parts
  const fetches = createSingleFlight<LinkedManifest | No>()

  async function linked(place: Eligible, digest: Digest): Promise<LinkedManifest | undefined> {
    const link = await catalog.link(linkKeyOf(place, digest))
    const bytes = link && (await content.bytes(digest, link.size))
    return bytes && { digest, mediaType: link.mediaType, bytes }
  }

  /** Where these bytes came from this origin before, a yes to HEAD is as good as sending them again. A no is a GET's alone. */
  async function proven(
    place: Eligible,
    digest: Digest,
    firstByteMs: number,
  ): Promise<LinkedManifest | undefined> {
    const size = await catalog.possession(place.upstream.origin, digest)
    const bytes = size === undefined ? undefined : await content.bytes(digest, size).catch(orAbsent)
    if (!bytes) return undefined
    const head = await questions.headManifest(place, digest, firstByteMs)
    if (isNo(head)) return undefined
    const said = readManifest(bytes, head.mediaType)
    if (isInvalid(said)) return undefined
    const manifest = { ...said, digest, mediaType: head.mediaType, bytes }
    admission.manifest(place, manifest)
    return manifest
  }

  function obtain(place: Eligible, digest: Digest, firstByteMs: number): Promise<LinkedManifest | No> {
    return fetches(keyOf(place.upstream.id, place.repository, digest), async () => {
      const known = await proven(place, digest, firstByteMs)
      if (known) return known
      const fetched = await questions.getManifest(place, digest, firstByteMs)
      if (!isNo(fetched)) admission.manifest(place, fetched)
      return fetched
    })
  }

  async function fromCache(request: ManifestRequest, eligible: readonly Eligible[], digest: Digest) {
    for (const place of eligible) {
      const manifest = await linked(place, digest)
      if (!manifest) continue
      // looking is no use of a manifest by digest: only fetching it is
      const use = request.method === 'GET' ? uses.link(linkKeyOf(place, digest), 1) : () => {}
      const until = monotonicNow() + leaseMs
      tell(request.story, place, 'hit')
      return answerOf(request, manifest, { lease: leaseUntil(until, monotonicNow, use) })
    }
    return undefined
  }

  /** First where the tag was just seen to be this digest, then where a cached manifest lists it. */
  async function inOrderOfPromise(
    eligible: readonly Eligible[],
    digest: Digest,
  ): Promise<readonly Eligible[]> {
    if (eligible.length === 1) return eligible
    const ranked = await Promise.all(
      eligible.map(async (place) => {
        const { upstream, repository } = place
        const at = { upstreamId: upstream.id, repository }
        if (catalog.tagsPendingOn(at, digest).length > 0) return { place, rank: 0 }
        const [pending, mention] = await Promise.all([
          catalog.pendingEverywhere(at, digest),
          catalog.mention(upstream.id, repository, digest),
        ])
        if (pending.length > 0) return { place, rank: 0 }
        return { place, rank: mention ? 1 : 2 }
      }),
    )
    return ranked.sort((a, b) => a.rank - b.rank).map(({ place }) => place)
  }

  return {
    linked,
    obtain,

    async byDigest(request, digest) {
      const eligible = eligibleOf(request)
      return storedOr(fromCache(request, eligible, digest), () => fromUpstreams(request, eligible, digest))
    },
  }

  async function fromUpstreams(
    request: ManifestRequest,
    eligible: readonly Eligible[],
    digest: Digest,
  ): Promise<ManifestAnswer> {
    const { story } = request
    const candidates = await inOrderOfPromise(eligible, digest)
    const options = { by: 'digest', unknown: 'MANIFEST_UNKNOWN', story, now: monotonicNow } as const

    if (request.method === 'HEAD') {
      const { candidate, found } = await walk(
        candidates,
        (place, ms) => headOrGet(place, digest, ms),
        options,
      )
      tell(story, candidate, 'miss')
      return {
        digest,
        mediaType: found.mediaType,
        size: found.size,
        bytes: undefined,
        warning: undefined,
        lease: undefined,
      }
    }
    const { candidate, found } = await walk(candidates, (place, ms) => obtain(place, digest, ms), options)
    uses.link(linkKeyOf(candidate, digest), 1)
    tell(story, candidate, 'miss')
    return answerOf(request, found)
  }

  /** A GET only where the HEAD left open what a client must be told. */
  async function headOrGet(
    place: Eligible,
    digest: Digest,
    ms: number,
  ): Promise<{ mediaType: string; size: number } | No> {
    const head = await questions.headManifest(place, digest, ms)
    if (isNo(head)) {
      if (!refusesHead(head)) return head
    } else if (head.size !== undefined) return { mediaType: head.mediaType, size: head.size }
    const manifest = await obtain(place, digest, ms)
    return isNo(manifest) ? manifest : { mediaType: manifest.mediaType, size: manifest.bytes.length }
  }
}

/** Upstreams this request may use. Throws when there is none: as unknown when `ns` names none of the registry's. */
export function eligibleOf({ registry, repository, ns }: PullRequest): Eligible[] {
  const eligible = eligibleUpstreams(registry, repository, ns)
  if (eligible.length === 0) throw new OciError(ns === '' ? 'MANIFEST_UNKNOWN' : 'NAME_UNKNOWN')
  return eligible
}

export function linkKeyOf({ upstream, repository }: Eligible, digest: Digest): LinkKey {
  return { upstreamId: upstream.id, repository, kind: 'manifest', digest }
}

export function tell(story: Story, { upstream }: Eligible, outcome: Outcome): void {
  story.upstream = nameOf(upstream)
  story.outcome = outcome
}

export function answerOf(
  { method }: PullRequest,
  { digest, mediaType, bytes }: LinkedManifest,
  { warning, lease }: { warning?: string | undefined; lease?: Lease | undefined } = {},
): ManifestAnswer {
  return {
    digest,
    mediaType,
    size: bytes.length,
    bytes: method === 'GET' ? bytes : undefined,
    warning,
    lease,
  }
}

export function leaseUntil(
  until: number,
  now: () => number,
  use: UseCell,
  holds: () => boolean = () => true,
): Lease {
  return { current: () => now() < until && holds(), use }
}
