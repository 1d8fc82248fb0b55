import type { Observer } from '../observer.ts'
import type { BlobStore } from '../store/blob-store.ts'
import type { DocumentStore } from '../store/document-store.ts'
import type { IndexStore, UseKey } from '../store/index-store.ts'
import type { Leases } from '../store/leases.ts'
import type { UseSnapshots } from '../store/use-snapshots.ts'
import type { UpstreamClient } from '../upstream/client.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { createAdmission } from './admission.ts'
import { createBackoff } from './backoff.ts'
import { type BlobSources, createBlobs, openedOf } from './blobs.ts'
import { createCatalog } from './catalog.ts'
import { createChecks } from './checks.ts'
import { createCommits } from './commits.ts'
import { createContent } from './content.ts'
import { failureOf } from './failure.ts'
import { createFills } from './fill.ts'
import { alone, createFleetFlight } from './fleet-flight.ts'
import { createHealth, nameOf } from './health.ts'
import { createDigestManifests } from './manifests.ts'
import type { Pull } from './pull.ts'
import { createQuestions } from './questions.ts'
import { createReferrers } from './referrers.ts'
import { createRevalidation } from './revalidation.ts'
import { createSharing, type Peers, type Sharing, unshared } from './sharing.ts'
import { createTagLists } from './tag-lists.ts'
import { createTagManifests } from './tags.ts'
import { createUses } from './uses.ts'
import { within } from './within.ts'

export interface PullParts {
  readonly client: UpstreamClient
  readonly blobs: BlobStore
  readonly documents: DocumentStore
  readonly index: IndexStore
  readonly observer: Observer
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** Milliseconds that never go back. */
  readonly monotonicNow: () => number
  /** How long an upstream's no is remembered. */
  readonly negativeMs?: number
  /** Where the stores are shared: by these replicas do not ask the same twice. */
  readonly leases?: Leases | undefined
  /** Where other replicas can be read from. */
  readonly replicas?: { readonly leases: Leases; readonly peers: Peers } | undefined
  /** Where the index can lose its data. */
  readonly snapshots?: UseSnapshots | undefined
}

export interface PullPath extends Pull {
  /** What this replica brings from an origin, for others to read; undefined when it does not. */
  brought: Sharing['brought']
  /** Writes the uses counted so far. Called now and then, and by `close`. */
  flush(): Promise<void>
  /**
   * Takes a tag or a link away, here and at other replicas; what is answered of it from memory ends within ten seconds. Bytes
   * that nothing links any more are deleted later.
   */
  unlink(key: UseKey): Promise<void>
  /** Keeps a snapshot of the uses. Called now and then, and by `drain`. */
  snapshot(): Promise<void>
  /**
   * Starts no fill any more; lets the running ones, and what is `served`, go on for so long; then makes durable what memory
   * serves and keeps the uses, within ten seconds in all, whatever is away.
   */
  drain(ms: number, served?: Promise<unknown>): Promise<void>
}

/** All that making durable what memory serves, and keeping the uses, may delay an end, with stores that are away. */
const lastMs = 10_000
/** Of which the uses wait for so long: one counts where the index has its tag or link. */
const lastUsesAfterMs = 2_000

/** The pull path over one set of stores. Its answers depend on the routes each request brings. */
export function createPull(parts: PullParts): PullPath {
  const { client, blobs, documents, index, observer, now, monotonicNow } = parts
  const { negativeMs, leases, replicas, snapshots } = parts
  const commits = createCommits(observer)
  const catalog = createCatalog({ documents, index, observer })
  const content = createContent({ blobs, observer })
  const health = createHealth({ now: monotonicNow, observer })
  const questions = createQuestions({
    client,
    health,
    observer,
    flight: leases ? createFleetFlight(leases) : alone,
    ...(negativeMs === undefined ? {} : { negativeMs }),
  })
  const admission = createAdmission({ catalog, content, commits, now })
  const uses = createUses({ index, now, observer, snapshots })
  const fills = createFills({ blobs, observer })
  const sharing = replicas
    ? createSharing({
        ...replicas,
        running: fills.running,
        abandonUpload: async (digest, uploadId) => blobs.abandonUpload?.(digest, uploadId),
        observer,
      })
    : unshared

  const shared = { catalog, content, questions, admission, commits, uses, now, monotonicNow }
  const manifests = createDigestManifests(shared)
  const checks = createChecks({ health, backoff: createBackoff(monotonicNow) })
  const revalidation = createRevalidation({ ...shared, checks, manifests })
  const tags = createTagManifests({ ...shared, manifests, revalidation, checks })

  const { blob } = createBlobs({ ...shared, fills, sharing, sources: createBlobSources(client) })
  const { referrers } = createReferrers({ ...shared, checks })

  /** What our own stores could not do is no mistake of the program's. */
  async function answered<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer
    } catch (error) {
      const failure = failureOf(error)
      if (failure !== error) observer.storeFailure('pull', error)
      throw failure
    }
  }

  return {
    manifest: (request) => {
      const { tag, digest } = request.reference
      return answered(digest === undefined ? tags.byTag(request, tag) : manifests.byDigest(request, digest))
    },
    blob: (request) => answered(blob(request)),
    referrers: (request) => answered(referrers(request)),
    ...createTagLists(shared),
    brought: sharing.brought,
    flush: () => uses.flush(),
    unlink: catalog.remove,
    snapshot: () => uses.snapshot(),
    async drain(ms, served = Promise.resolve()) {
      const filled = fills.drain(ms)
      await atMost(ms, Promise.all([filled, served]))
      const durable = Promise.all([filled, commits.settled()])
      const kept = atMost(lastUsesAfterMs, durable).then(uses.flush).then(uses.snapshot)
      await atMost(lastMs, Promise.all([durable, kept]))
    },
  }
}

/** What takes longer goes on unwatched. */
async function atMost(ms: number, work: Promise<unknown>): Promise<void> {
  await within<unknown>(ms, work, () => undefined)
}

function createBlobSources(client: UpstreamClient): BlobSources {
  return ({ upstream, repository }, digest) => ({
    upstream: nameOf(upstream),
    async open(start, signal) {
      const resource = `blobs/${digest}`
      const rangeStart = start === 0 ? undefined : start
      const answer = await client.request({
        upstream,
        repository,
        method: 'GET',
        resource,
        rangeStart,
        signal,
      })
      if (answer.found) return openedOf(answer, start)
      throw new UpstreamError(
        'unavailable',
        `${nameOf(upstream)} answered ${answer.status} when asked to go on`,
        {
          status: answer.status,
        },
      )
    },
  })
}
