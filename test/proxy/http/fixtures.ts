import { randomBytes } from 'node:crypto'
import { type App, type AppLimits, createApp } from '../../../proxy/http/app.ts'
import { createLogger } from '../../../proxy/log.ts'
import { createMetrics, type Metrics } from '../../../proxy/metrics.ts'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { OciError } from '../../../proxy/oci/errors.ts'
import { formatReference } from '../../../proxy/oci/reference.ts'
import type { BlobBody, Lease, ListAnswer, Pull, PullRequest } from '../../../proxy/pull/pull.ts'
import { createRouteTable, type RouteTable } from '../../../proxy/route-table.ts'
import type { RegistryRoute, UpstreamRoute } from '../../../proxy/routes.ts'

export function upstream(name: string, changes: Partial<UpstreamRoute> = {}): UpstreamRoute {
  return {
    kind: 'Upstream',
    namespace: 'team',
    name,
    id: digestOf(Buffer.from(name)).slice(7),
    origin: name,
    url: `https://${name}.example`,
    revalidation: { policy: 'AfterValidity', validitySeconds: 86_400 },
    tokenServiceHosts: [],
    namespaceHosts: [`${name}.example`],
    mode: 'Active',
    ...changes,
  }
}

export const anyone: RegistryRoute['access'] = {
  rules: [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'], repositories: ['**'] }],
}

export function registry(name: string, changes: Partial<RegistryRoute> = {}): RegistryRoute {
  return {
    kind: 'VirtualRegistry',
    namespace: 'team',
    name,
    path: name,
    hosts: [],
    upstreams: [{ name: 'hub', include: [], exclude: [], failurePolicy: 'Fail' }],
    access: anyone,
    blobDelivery: 'Proxy',
    serving: 'Enabled',
    ...changes,
  }
}

/** `vr1` and the host `vr.example` for anyone, `private` for nobody, `off` disabled. */
export function tableOf(...more: RegistryRoute[]): RouteTable {
  return createRouteTable({
    upstreams: [upstream('hub', { namespaceHosts: ['docker.io', 'hub.example'] })],
    registries: [
      registry('vr1'),
      registry('private', { access: { rules: [] } }),
      registry('off', { serving: 'Disabled' }),
      registry('hosted', { hosts: ['vr.example'] }),
      ...more,
    ],
  })
}

export interface FakeManifest {
  readonly bytes: Buffer
  readonly mediaType: string
  readonly warning?: string
  readonly lease?: Lease
}

export interface FakePull extends Pull {
  /** By `<repository>:<tag>` and `<repository>@<digest>`. */
  readonly manifests: Map<string, FakeManifest>
  readonly blobs: Map<string, () => { size?: number; body: BlobBody; lease?: Lease }>
  readonly requests: { readonly kind: string; readonly request: PullRequest }[]
  /** Runs first, of any pull. */
  before: (request: PullRequest) => void | Promise<void>
  list: () => ListAnswer
}

export const imageType = 'application/vnd.oci.image.manifest.v1+json'

/** Serves what is put into it, through every registry alike. */
export function createFakePull(): FakePull {
  const manifests = new Map<string, FakeManifest>()
  const blobs: FakePull['blobs'] = new Map()
  const requests: FakePull['requests'] = []

  const pull: FakePull = {
    manifests,
    blobs,
    requests,
    before: () => {},
    list: () => ({
      body: Buffer.from('{"name":"x","tags":[]}'),
      mediaType: 'application/json',
      next: undefined,
      filtersApplied: undefined,
      warning: undefined,
    }),
    async manifest(request) {
      requests.push({ kind: 'manifest', request })
      await pull.before(request)
      const { repository, reference, method, story } = request
      const found = manifests.get(`${repository} ${formatReference(reference)}`)
      if (found === undefined) throw new OciError('MANIFEST_UNKNOWN')
      story.outcome = found.warning === undefined ? 'hit' : 'stale-served'
      story.upstream = 'team/hub'
      return {
        digest: digestOf(found.bytes),
        mediaType: found.mediaType,
        size: found.bytes.length,
        bytes: method === 'GET' ? found.bytes : undefined,
        warning: found.warning,
        lease: found.lease,
      }
    },
    async blob(request) {
      requests.push({ kind: 'blob', request })
      await pull.before(request)
      const { repository, digest, method, story } = request
      const found = blobs.get(`${repository} ${digest}`)?.()
      if (found === undefined) throw new OciError('BLOB_UNKNOWN')
      story.outcome = 'hit'
      story.source = found.body.bytes ? 'memory' : 'disk'
      if (method === 'HEAD') found.body.close()
      return {
        digest,
        mediaType: undefined,
        size: found.size,
        body: method === 'GET' ? found.body : undefined,
        lease: found.lease,
      }
    },
    async tags(request) {
      requests.push({ kind: 'tags', request })
      await pull.before(request)
      return pull.list()
    },
    async referrers(request) {
      requests.push({ kind: 'referrers', request })
      await pull.before(request)
      return pull.list()
    },
  }
  return pull
}

export function putManifest(
  pull: FakePull,
  repository: string,
  tag: string,
  changes: Partial<FakeManifest> = {},
) {
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: imageType, tag }))
  const manifest = { bytes, mediaType: imageType, ...changes }
  const digest = digestOf(manifest.bytes)
  pull.manifests.set(`${repository} ${tag}`, manifest)
  pull.manifests.set(`${repository} ${digest}`, manifest)
  return { digest, bytes: manifest.bytes }
}

/** A body that is read by position, as from a disk; `inMemory` one that is not. */
export function bodyOf(
  bytes: Buffer,
  { inMemory = false, sized = true } = {},
): BlobBody & { closed: boolean } {
  const body = {
    size: sized ? bytes.length : undefined,
    bytes: inMemory ? bytes : undefined,
    closed: false,
    async read(buffer: Uint8Array, position: number) {
      return bytes.copy(buffer, 0, position)
    },
    close() {
      body.closed = true
    },
  }
  return body
}

export function putBlob(
  pull: FakePull,
  repository: string,
  bytes: Buffer = randomBytes(1000),
  options: { inMemory?: boolean; sized?: boolean; lease?: Lease } = {},
): { digest: Digest; bytes: Buffer; bodies: ReturnType<typeof bodyOf>[] } {
  const bodies: ReturnType<typeof bodyOf>[] = []
  const digest = digestOf(bytes)
  pull.blobs.set(`${repository} ${digest}`, () => {
    const body = bodyOf(bytes, options)
    bodies.push(body)
    return {
      ...(options.sized === false ? {} : { size: bytes.length }),
      ...(options.lease && { lease: options.lease }),
      body,
    }
  })
  return { digest, bytes, bodies }
}

export interface Edge {
  readonly app: App
  readonly pull: FakePull
  readonly metrics: Metrics
  readonly port: number
  /** What was logged so far, parsed. */
  lines(): Record<string, unknown>[]
  setTable(table: RouteTable): void
  close(): Promise<void>
}

export async function startEdge({
  limits = {},
  table = tableOf(),
}: {
  limits?: Partial<AppLimits>
  table?: RouteTable
} = {}): Promise<Edge> {
  let written = ''
  let current = table
  const log = createLogger({
    level: 'debug',
    format: 'json',
    destination: {
      write(text) {
        written += text
      },
      flush: async () => {},
      flushSync: () => {},
    },
  })
  const pull = createFakePull()
  const metrics = createMetrics({ version: 'test' })
  const app = createApp({
    pull,
    table: () => current,
    log,
    metrics,
    limits: { checkIntervalMs: 100, ...limits },
  })
  const { port } = await app.listen({ host: '127.0.0.1', port: 0 })
  return {
    app,
    pull,
    metrics,
    port,
    lines() {
      log.flushSync()
      return written
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line))
    },
    setTable(next) {
      current = next
    },
    async close() {
      await app.drain(0)
      metrics.close()
    },
  }
}
