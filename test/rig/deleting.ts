import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { sweep } from '../../proxy/cleanup/sweep.ts'
import type { Observer } from '../../proxy/observer.ts'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import { OciError } from '../../proxy/oci/errors.ts'
import { createPull, type PullPath } from '../../proxy/pull/create-pull.ts'
import type { Story } from '../../proxy/pull/pull.ts'
import { createRouteTable } from '../../proxy/route-table.ts'
import { StoreUnavailableError } from '../../proxy/store/breaker.ts'
import type { IndexStore, LinkKey } from '../../proxy/store/index-store.ts'
import { parseDocumentKey } from '../../proxy/store/keys.ts'
import type { Leases } from '../../proxy/store/leases.ts'
import { createUpstreamClient } from '../../proxy/upstream/create-upstream-client.ts'
import { createFakeUpstream } from './fake-upstream.ts'

type Sweepable = Parameters<typeof sweep>[0]['stores']

/** Stores as they are opened for one replica. */
export interface OpenedStores {
  readonly blobs: Parameters<typeof createPull>[0]['blobs']
  readonly documents: Parameters<typeof createPull>[0]['documents']
  readonly index: IndexStore
  readonly leases: Leases | undefined
  readonly sweepable: Sweepable
  close(): Promise<void>
}

export type DeletingObserver = Observer & { storeAvailable(): void }

export interface DeletingOptions {
  readonly replicas: number
  open(folder: string, observer: DeletingObserver): Promise<OpenedStores>
  readonly rounds: number
  /** Far longer than any step between seeing a blob and linking it takes on a busy machine. */
  readonly graceMs: number
}

/** What came of it; `lost` and `left` must be empty. */
export interface DeletingStory {
  rounds: number
  pulls: number
  offlinePulls: number
  unlinked: number
  sweeps: number
  marked: number
  deleted: number
  /** Requests and readings of the stores that were tried again, since a store was away or a pull failed. */
  again: number
  /** Found linked by a document, and not stored or not served. */
  readonly lost: string[]
  /** Linked by nothing, and there still after two sweeps. */
  readonly left: string[]
  /** Pulls that failed with the upstream running. */
  readonly failed: string[]
  /** Operations whose writing failed after the answer. */
  readonly notKept: Map<string, number>
  ms: number
}

interface Image {
  readonly manifest: Digest
  readonly blobs: readonly Digest[]
}

const repositories = ['one/app', 'two/app', 'three/app']
const images = 60
const imagesAtOnce = 4
const offlineKeys = 12
/** Longer than S3 is held to be away. */
const attempts = 40
const againMs = 500
/** Rounds between two moments of quiet, at which nothing unlinked may be left. */
const quietEach = 50

/**
 * Replicas pull a set of images that share layers, from three repositories, while their links are taken away at random and
 * every replica sweeps without a pause. Every second round the upstream is stopped, and what is linked must come from the cache.
 */
export async function deleteAgainstPulls(options: DeletingOptions): Promise<DeletingStory> {
  const { graceMs, rounds } = options
  const begun = performance.now()
  const story: DeletingStory = {
    ...{
      rounds: 0,
      pulls: 0,
      offlinePulls: 0,
      unlinked: 0,
      sweeps: 0,
      marked: 0,
      deleted: 0,
      again: 0,
      ms: 0,
    },
    ...{ lost: [], left: [], failed: [], notKept: new Map() },
  }
  await using open = new AsyncDisposableStack()
  const upstream = await createFakeUpstream()
  open.defer(() => upstream.close())
  const content = pushImages(upstream.content)
  const table = tableOf(upstream)
  const registry = table.registries[0]!
  const folder = await mkdtemp(join(tmpdir(), 'headwater-deleting-'))
  open.defer(() => rm(folder, { recursive: true, force: true }))
  const replicas: { pull: PullPath; stores: OpenedStores }[] = []
  for (let n = 0; n < options.replicas; n++) replicas.push(await openReplica(join(folder, String(n))))
  const [first] = replicas

  async function openReplica(at: string) {
    const observer = observerOf(story)
    const stores = await options.open(at, observer)
    open.defer(() => stores.close())
    const policy = { addressPolicy: { deny: [], allow: [] } }
    const client = createUpstreamClient({ observer, now: Date.now, version: 'test', ...policy })
    open.defer(() => client.close())
    const { blobs, documents, index, leases } = stores
    const clocks = { now: Date.now, monotonicNow: () => performance.now() }
    const parts = { client, blobs, documents, index, observer, ...clocks, negativeMs: 0, leases }
    const pull = createPull(parts)
    open.defer(() => pull.drain(5_000))
    return { pull, stores }
  }

  async function sweepOnce({ stores }: (typeof replicas)[number]): Promise<void> {
    const clocks = { now: Date.now, monotonicNow: () => performance.now() }
    const parts = { stores: stores.sweepable, maySweepShared: () => true, ...clocks, graceMs }
    const report = await insisting(async () => {
      const { endedEarly, ...done } = await sweep(parts)
      for (const { error } of endedEarly) throw error
      return done
    })
    story.sweeps += 1
    story.marked += report.marked
    story.deleted += report.blobs
    for (const failure of report.failures) story.failed.push(`deleting ${JSON.stringify(failure)}`)
  }

  /** On a busy machine S3 may be away for a moment. */
  async function insisting<T>(work: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await work()
      } catch (error) {
        if (!(error instanceof StoreUnavailableError) || attempt >= attempts) throw error
        story.again += 1
        await sleep(againMs)
      }
    }
  }

  /** Asked again as clients do: undefined once its bytes came, otherwise why they did not. */
  async function pullOne(pull: PullPath, repository: string, kind: LinkKey['kind'], digest: Digest) {
    for (let attempt = 1; ; attempt++) {
      const problem = await pullOnce(pull, repository, kind, digest)
      if (problem === undefined || attempt >= attempts) return problem
      story.again += 1
      await sleep(againMs)
    }
  }

  async function pullOnce(pull: PullPath, repository: string, kind: LinkKey['kind'], digest: Digest) {
    const request = { registry, repository, method: 'GET', ns: '', story: { trail: [] } as Story } as const
    try {
      const bytes =
        kind === 'manifest'
          ? (await pull.manifest({ ...request, reference: { digest } })).bytes
          : await readBody((await pull.blob({ ...request, digest })).body!)
      return bytes && digestOf(bytes) === digest ? undefined : 'wrong bytes'
    } catch (error) {
      return error instanceof OciError ? error.code : String(error)
    }
  }

  async function pullImage({ manifest, blobs }: Image): Promise<void> {
    const { pull } = pick(replicas)
    const repository = pick(repositories)
    for (const [at, digest] of [manifest, ...blobs].entries()) {
      story.pulls += 1
      const problem = await pullOne(pull, repository, at === 0 ? 'manifest' : 'blob', digest)
      if (problem) story.failed.push(`${repository} ${digest}: ${problem}`)
    }
  }

  async function unlinkImage({ manifest, blobs }: Image, keys: readonly LinkKey[]): Promise<void> {
    const digests = [manifest, ...blobs]
    for (const link of keys.filter(({ digest }) => digests.includes(digest))) {
      await insisting(() => pick(replicas).pull.unlink({ link }))
      story.unlinked += 1
    }
  }

  async function linkedNow(): Promise<LinkKey[]> {
    const keys: LinkKey[] = []
    for await (const key of first!.stores.sweepable.documents.list('upstreams/')) {
      const { link } = parseDocumentKey(key) ?? {}
      if (link) keys.push(link)
    }
    return keys
  }

  async function storedNow(): Promise<Set<Digest>> {
    const stored = new Set<Digest>()
    for await (const { digest } of first!.stores.sweepable.blobs.list()) stored.add(digest)
    return stored
  }

  /** What is linked is stored: the links are read first, and none is taken away meanwhile. */
  async function expectLinkedStored(): Promise<void> {
    const linked = await insisting(linkedNow)
    const stored = await insisting(storedNow)
    for (const { repository, kind, digest } of linked) {
      if (!stored.has(digest))
        story.lost.push(`round ${story.rounds}: ${repository} ${kind} ${digest} is not stored`)
    }
  }

  async function runOnline(): Promise<void> {
    const unlinking = Array.from({ length: imagesAtOnce }, () => pick(content))
    const keys = await insisting(linkedNow)
    await Promise.all([
      ...Array.from({ length: imagesAtOnce }, () => pullImage(pick(content))),
      ...unlinking.map((image) => unlinkImage(image, keys)),
    ])
    await expectLinkedStored()
  }

  async function runOffline(): Promise<void> {
    await upstream.stop()
    const linked = await insisting(linkedNow)
    const unlinking = pick(content)
    const gone = [unlinking.manifest, ...unlinking.blobs]
    const staying = linked.filter(({ digest }) => !gone.includes(digest))
    const pulled = Array.from({ length: Math.min(offlineKeys, staying.length) }, () => pick(staying))
    await Promise.all([
      unlinkImage(unlinking, linked),
      ...pulled.map(async ({ repository, kind, digest }) => {
        story.offlinePulls += 1
        const problem = await pullOne(pick(replicas).pull, repository, kind, digest)
        if (problem) story.lost.push(`round ${story.rounds}: ${repository} ${kind} ${digest}: ${problem}`)
      }),
    ])
    await upstream.heal()
    upstream.forgetRequests()
  }

  /** Two sweeps, a time of grace apart, with nothing else going on. */
  async function expectNothingLeft(): Promise<void> {
    await sleep(500) // what the last pulls left to be made durable
    await sweepOnce(pick(replicas))
    await sleep(graceMs + 50)
    await sweepOnce(pick(replicas))
    await expectLinkedStored()
    const linked = new Set((await insisting(linkedNow)).map(({ digest }) => digest))
    for (const digest of await insisting(storedNow)) {
      if (!linked.has(digest)) story.left.push(`round ${story.rounds}: ${digest}`)
    }
  }

  while (story.rounds < rounds) {
    const quiet = new AbortController()
    const sweeping = replicas.map(async (replica) => {
      while (!quiet.signal.aborted) {
        await sweepOnce(replica)
        await sleep(graceMs / 4)
      }
    })
    const until = Math.min(rounds, story.rounds + quietEach)
    for (; story.rounds < until; story.rounds++) await (story.rounds % 2 === 0 ? runOnline() : runOffline())
    quiet.abort()
    await Promise.all(sweeping)
    await expectNothingLeft()
  }
  story.ms = performance.now() - begun
  return story
}

/** Each has a layer of its own, and shares one with its neighbour; some too large for memory, some for one piece. */
function pushImages(content: Awaited<ReturnType<typeof createFakeUpstream>>['content']): Image[] {
  return Array.from({ length: images }, (_, n) => {
    const ownBytes = n % 20 === 0 ? 9 * 1024 * 1024 : n % 4 === 0 ? 1_200_000 : 20_000
    const layers = [bytesOf(`own ${n}`, ownBytes), bytesOf(`shared ${n >> 1}`, 30_000)]
    let image: Image | undefined
    for (const repository of repositories) {
      const config = content.putBlob(repository, JSON.stringify({ image: n }))
      const pushed = layers.map((bytes) => content.putBlob(repository, bytes))
      const mediaType = 'application/vnd.oci.image.manifest.v1+json'
      const manifest = { schemaVersion: 2, mediaType, config, layers: pushed }
      const { digest } = content.putManifest(repository, manifest, { mediaType })
      image = { manifest: digest, blobs: [config, ...pushed].map((blob) => blob.digest) }
    }
    return image!
  })
}

function bytesOf(seed: string, size: number): Buffer {
  const block = createHash('sha512').update(seed).digest()
  const bytes = Buffer.alloc(size, block)
  bytes.write(seed)
  return bytes
}

function tableOf({ url, host }: { readonly url: string; readonly host: string }) {
  return createRouteTable({
    upstreams: [
      {
        ...{ kind: 'Upstream', namespace: 'default', name: 'up', url, origin: url, mode: 'Active' },
        id: createHash('sha256').update(url).digest('hex'),
        revalidation: { policy: 'AfterValidity', validitySeconds: 60 },
        ...{ tokenServiceHosts: [], namespaceHosts: [host] },
      },
    ],
    registries: [
      {
        ...{ kind: 'VirtualRegistry', namespace: 'default', name: 'hub', path: 'hub', hosts: [] },
        ...{ access: { rules: [] }, blobDelivery: 'Proxy', serving: 'Enabled' },
        upstreams: [{ name: 'up', include: [], exclude: [], failurePolicy: 'Fail' }],
      },
    ],
  })
}

function observerOf({ notKept }: DeletingStory): DeletingObserver {
  const ignore = () => {}
  return {
    ...{ upstreamRequest: ignore, upstreamBytes: ignore, fillStarted: ignore, fillEnded: ignore },
    ...{ fillResumed: ignore, sharing: ignore, digestMismatch: ignore, breaker: ignore },
    ...{ spoolBytes: ignore, storedBytes: ignore, evicted: ignore, storeAvailable: ignore },
    storeFailure: (operation, error) => {
      const told = `${operation}: ${(error as Error).message}`
      notKept.set(told, (notKept.get(told) ?? 0) + 1)
    },
  }
}

async function readBody(body: {
  read(buffer: Buffer, position: number): number | Promise<number>
  close(): unknown
}): Promise<Buffer> {
  const chunks: Buffer[] = []
  const buffer = Buffer.alloc(256 * 1024)
  try {
    for (let position = 0; ; ) {
      const read = await body.read(buffer, position)
      if (read === 0) return Buffer.concat(chunks)
      chunks.push(Buffer.from(buffer.subarray(0, read)))
      position += read
    }
  } finally {
    body.close()
  }
}

function pick<T>(from: readonly T[]): T {
  return from[Math.floor(Math.random() * from.length)]!
}

/** For docs/measurements. */
export function tableOfDeleting(all: ReadonlyMap<string, DeletingStory>): string[] {
  const told = [...all.values()]
  const row = (what: string, of: (story: DeletingStory) => number) =>
    `| ${what} | ${told.map((story) => of(story)).join(' | ')} |`
  return [
    'Sixty images that share layers are pulled from three repositories while their links are taken away at random; every',
    'replica sweeps again and again, with a time of grace of 1 s over files and of 2 s over S3. Every second round the upstream',
    'is stopped, and what is linked must come from the cache. Each fiftieth round all is quiet for two sweeps.',
    '',
    `| | ${[...all.keys()].join(' | ')} |`,
    `|---|${'---|'.repeat(all.size)}`,
    row('rounds', ({ rounds: count }) => count),
    row('pulls with the upstream running', ({ pulls }) => pulls),
    row('pulls with the upstream stopped', ({ offlinePulls }) => offlinePulls),
    row('links taken away', ({ unlinked }) => unlinked),
    row('sweeps', ({ sweeps }) => sweeps),
    row('blobs marked', ({ marked }) => marked),
    row('blobs deleted', ({ deleted }) => deleted),
    row('pulls and looks into the stores tried again', ({ again }) => again),
    row('pulls that failed', ({ failed }) => failed.length),
    row('linked and lost', ({ lost }) => lost.length),
    row('unlinked and left after two sweeps', ({ left }) => left.length),
    row('minutes', ({ ms }) => Math.round(ms / 6_000) / 10),
  ]
}
