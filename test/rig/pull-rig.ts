import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Observer } from '../../proxy/observer.ts'
import type { Digest } from '../../proxy/oci/digest.ts'
import { parseReference } from '../../proxy/oci/reference.ts'
import { createPull } from '../../proxy/pull/create-pull.ts'
import type { BlobAnswer, ManifestAnswer, Story } from '../../proxy/pull/pull.ts'
import { createRouteTable } from '../../proxy/route-table.ts'
import type { RegistryRoute, UpstreamRoute } from '../../proxy/routes.ts'
import type { BlobStore } from '../../proxy/store/blob-store.ts'
import type { DocumentStore } from '../../proxy/store/document-store.ts'
import { createFileBlobStore, type FileBlobStore } from '../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../proxy/store/file-document-store.ts'
import type { IndexStore } from '../../proxy/store/index-store.ts'
import { createSqliteIndexStore } from '../../proxy/store/sqlite-index-store.ts'
import { createUpstreamClient } from '../../proxy/upstream/create-upstream-client.ts'
import type { FakeUpstream } from './fake-upstream.ts'

/** An upstream of the rig; `upstream` says where it is, the rest is as in a route. */
export interface RigUpstream extends Partial<Omit<UpstreamRoute, 'kind' | 'url'>> {
  readonly name: string
  readonly at: Pick<FakeUpstream, 'url' | 'host'>
}

export interface RigRegistry extends Partial<Omit<RegistryRoute, 'kind' | 'upstreams'>> {
  readonly name: string
  readonly upstreams: readonly (
    | string
    | (Partial<RegistryRoute['upstreams'][number]> & { readonly name: string })
  )[]
}

interface Asked {
  readonly registry?: string
  readonly method?: 'GET' | 'HEAD'
  readonly ns?: string
}

export type Told<Answer> = Answer & { readonly story: Story }

/** The whole pull path over real stores and real sockets, with a clock of the test's own and no HTTP in front. */
export interface PullRig {
  manifest(repository: string, reference: string, asked?: Asked): Promise<Told<ManifestAnswer>>
  blob(repository: string, digest: Digest, asked?: Asked): Promise<Told<BlobAnswer>>
  /** Pulls a blob to its end. */
  bytes(repository: string, digest: Digest, asked?: Asked): Promise<Buffer>
  tags(
    repository: string,
    query?: string,
    asked?: Asked,
  ): Promise<{ tags: string[]; name: string; next: string | undefined }>
  referrers(
    repository: string,
    subject: Digest,
    query?: string,
    asked?: Asked,
  ): Promise<{
    manifests: { digest: string }[]
    warning: string | undefined
    filtersApplied: string | undefined
    story: Story
  }>
  /** Moves the wall clock and the monotonic one. */
  advance(seconds: number): void
  jumpWallClock(seconds: number): void
  /** Waits for what is being made durable, then starts anew over the same folder: nothing is in memory. */
  restart(options?: { withoutIndex?: boolean }): Promise<void>
  setRoutes(upstreams: readonly RigUpstream[], registries: readonly RigRegistry[]): void
  readonly observed: Observed
  readonly folder: string
  close(): Promise<void>
}

export interface Observed {
  readonly failures: { operation: string; error: unknown }[]
  readonly breaker: Map<string, string>
  digestMismatches: number
  upstreamBytes: number
}

export async function createPullRig(
  upstreams: readonly RigUpstream[],
  registries: readonly RigRegistry[],
  {
    negativeMs = 0,
    blobsOver = (files) => files,
    documentsOver = (files) => files,
    indexOver = (sqlite) => sqlite,
  }: {
    negativeMs?: number
    blobsOver?: (files: FileBlobStore) => BlobStore
    documentsOver?: (files: DocumentStore) => DocumentStore
    indexOver?: (sqlite: IndexStore) => IndexStore
  } = {},
): Promise<PullRig> {
  const folder = await mkdtemp(join(tmpdir(), 'pull-'))
  const observed: Observed = { failures: [], breaker: new Map(), digestMismatches: 0, upstreamBytes: 0 }
  const observer = observe(observed)
  let wallOffset = 0
  let monotonicOffset = 0
  let table = createRouteTable({ upstreams: upstreams.map(routeOf), registries: registries.map(registryOf) })
  let parts = await open()

  async function open(indexName = 'index.db') {
    const client = createUpstreamClient({
      observer,
      now: Date.now,
      version: 'test',
      addressPolicy: { deny: [], allow: [] },
    })
    const index = indexOver(createSqliteIndexStore({ file: join(folder, indexName) }))
    const pull = createPull({
      client,
      blobs: blobsOver(await createFileBlobStore({ root: join(folder, 'blobs'), observer })),
      documents: documentsOver(await createFileDocumentStore({ root: join(folder, 'documents') })),
      index,
      observer,
      now: () => Date.now() + wallOffset,
      monotonicNow: () => performance.now() + monotonicOffset,
      negativeMs,
    })
    return { client, index, pull }
  }

  async function shut(): Promise<void> {
    await parts.pull.drain(1_000)
    await parts.client.close()
    await parts.index.close()
  }

  function requestOf(repository: string, { registry, method = 'GET', ns = '' }: Asked) {
    const found = table.registries.find(({ route }) => route.name === (registry ?? registries[0]!.name))!
    return { registry: found, repository, method, ns, story: { trail: [] } as Story }
  }

  const rig: PullRig = {
    observed,
    folder,
    async manifest(repository, reference, asked = {}) {
      const request = { ...requestOf(repository, asked), reference: parseReference(reference) }
      return { ...(await parts.pull.manifest(request)), story: request.story }
    },
    async blob(repository, digest, asked = {}) {
      const request = { ...requestOf(repository, asked), digest }
      return { ...(await parts.pull.blob(request)), story: request.story }
    },
    async bytes(repository, digest, asked = {}) {
      const { body } = await rig.blob(repository, digest, asked)
      const chunks: Buffer[] = []
      const buffer = Buffer.alloc(256 * 1024)
      let position = 0
      try {
        for (;;) {
          const read = await body!.read(buffer, position)
          if (read === 0) return Buffer.concat(chunks)
          chunks.push(Buffer.from(buffer.subarray(0, read)))
          position += read
        }
      } finally {
        body!.close()
      }
    },
    async tags(repository, query = '', asked = {}) {
      const { body, next } = await parts.pull.tags({
        ...requestOf(repository, asked),
        name: repository,
        query: new URLSearchParams(query),
      })
      return { ...(JSON.parse(body.toString()) as { tags: string[]; name: string }), next }
    },
    async referrers(repository, subject, query = '', asked = {}) {
      const request = { ...requestOf(repository, asked), subject, query: new URLSearchParams(query) }
      const { body, warning, filtersApplied } = await parts.pull.referrers(request)
      const { manifests } = JSON.parse(body.toString()) as { manifests: { digest: string }[] }
      return { manifests, warning, filtersApplied, story: request.story }
    },
    advance(seconds) {
      wallOffset += seconds * 1000
      monotonicOffset += seconds * 1000
    },
    jumpWallClock(seconds) {
      wallOffset += seconds * 1000
    },
    async restart({ withoutIndex = false } = {}) {
      await shut()
      parts = await open(withoutIndex ? `index-${performance.now()}.db` : undefined)
    },
    setRoutes(newUpstreams, newRegistries) {
      table = createRouteTable({
        upstreams: newUpstreams.map(routeOf),
        registries: newRegistries.map(registryOf),
      })
    },
    async close() {
      await shut()
      await rm(folder, { recursive: true, force: true })
    },
  }
  return rig
}

function routeOf({ at, ...route }: RigUpstream): UpstreamRoute {
  return {
    kind: 'Upstream',
    namespace: 'default',
    id: createHash('sha256')
      .update(JSON.stringify(['default', route.name, at.url, route.credentials?.username ?? 'anonymous']))
      .digest('hex'),
    origin: at.url,
    url: at.url,
    revalidation: { policy: 'AfterValidity', validitySeconds: 60 },
    tokenServiceHosts: [],
    namespaceHosts: [at.host],
    mode: 'Active',
    ...route,
  }
}

function registryOf({ upstreams, ...route }: RigRegistry): RegistryRoute {
  return {
    kind: 'VirtualRegistry',
    namespace: 'default',
    path: route.name,
    hosts: [],
    access: { rules: [] },
    blobDelivery: 'Proxy',
    serving: 'Enabled',
    ...route,
    upstreams: upstreams.map((upstream) => ({
      include: [],
      exclude: [],
      failurePolicy: 'Fail',
      ...(typeof upstream === 'string' ? { name: upstream } : upstream),
    })),
  }
}

function observe(observed: Observed): Observer {
  const ignore = () => {}
  return {
    upstreamRequest: ignore,
    upstreamBytes: (_upstream, bytes) => {
      observed.upstreamBytes += bytes
    },
    fillStarted: ignore,
    fillEnded: ignore,
    fillResumed: ignore,
    digestMismatch: () => {
      observed.digestMismatches++
    },
    breaker: (upstream, state) => observed.breaker.set(upstream, state),
    spoolBytes: ignore,
    storedBytes: ignore,
    evicted: ignore,
    sharing: ignore,
    storeFailure: (operation, error) => observed.failures.push({ operation, error }),
  }
}
