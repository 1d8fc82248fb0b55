import { createServer, type Server, type Socket } from 'node:net'
import type { SecureContextOptions } from 'node:tls'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ask } from '../../rig/asking.ts'
import {
  type CertificateAuthority,
  createCertificateAuthority,
  type KeyPair,
} from '../../rig/certificates.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { type Invariants, watchInvariants } from '../../rig/invariants.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const login = { username: 'puller', password: 'canary-over-tls' }

/** What is listening in place of the good upstream: another certificate, or something that only accepts connections. */
type Impostor = { tls: () => Promise<SecureContextOptions> } | { connection: (socket: Socket) => unknown }

const impostors: Readonly<Record<string, Impostor>> = {
  'whose certificate has expired': { tls: () => authority.issue({ expired: true }) },
  'with the certificate of another host': { tls: () => authority.issue({ hosts: ['registry.example'] }) },
  'of an unknown authority': { tls: async () => (await createCertificateAuthority()).issue() },
  'that speaks TLS 1.1 alone': {
    tls: async () => ({
      ...(await authority.issue()),
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'ALL@SECLEVEL=0',
    }),
  },
  'that stalls in the handshake': { connection: () => {} },
  'that resets in the handshake': {
    connection: (socket) => socket.once('data', () => socket.resetAndDestroy()),
  },
  'that answers in plain text': {
    connection: (socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  },
}

let authority: CertificateAuthority
let certificate: KeyPair
let good: FakeUpstream
let bystander: FakeUpstream
let headwater: Headwater
let invariants: Invariants
let cached: SampleImage
const seen: FakeUpstream[] = []

describeWithParts(['openssl'], 'a TLS upstream', () => {
  beforeAll(async () => {
    authority = await createCertificateAuthority()
    certificate = await authority.issue()
    good = await startGood()
    cached = await fill(good)
    bystander = await createFakeUpstream()
    await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })
    const upstream = { url: good.url, ca: authority.ca, ...login }
    headwater = await startHeadwater({
      resources: [
        ...upstreamResources('day', upstream),
        ...upstreamResources('always', { ...upstream, policy: 'Always' }),
        ...upstreamResources('bystander', { url: bystander.url }),
        registryResource('fresh', ['day']),
        registryResource('stale', ['always']),
        registryResource('bystander', ['bystander']),
      ],
    })
    for (const registry of ['fresh', 'stale']) expect((await pull(registry, 'v1')).status).toBe(200)
    invariants = await watchInvariants(headwater, {
      watched: () => [
        ...[good, ...seen].map((upstream) => ({ upstream, alsoOf: seen })),
        { upstream: bystander },
      ],
      bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
    })
  })

  afterAll(async () => {
    await invariants?.stop()
    await headwater?.close()
    await Promise.all([good?.close(), bystander?.close()])
  })

  it.each(Object.entries(impostors))('U38: %s is trouble, and gets nothing', async (_what, impostor) => {
    await good.stop()
    invariants.begin()
    const bad = await startImpostor(impostor, good.port)

    expect((await pull('fresh', 'v1')).headers.warning).toBeUndefined()
    const stale = await pull('stale', 'v1')
    expect(stale).toMatchObject({ status: 200 })
    expect(stale.headers.warning).toMatch(/cached content/)
    expect(stale.headers['docker-content-digest']).toBe(cached.manifest.digest)
    expect(stale.ms).toBeLessThan(3_000)
    expect(await pull('stale', 'cold')).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
    expect(bad.requests()).toEqual([])

    const later = `later${seen.length}-${_what.length}`
    good.content.tag('app', later, cached.manifest.digest)
    await bad.close()
    await invariants.expect({
      ...{ upstreams: [good], requestsAtMost: 0, repository: 'app', digests: [cached.manifest.digest] },
      cold: `/v2/default/stale/app/manifests/${later}`,
      stale: '/v2/default/stale/app/manifests/v1',
    })
  })
})

async function pull(registry: string, tag: string) {
  return ask(headwater, `/v2/default/${registry}/app/manifests/${tag}`)
}

function startGood(): Promise<FakeUpstream> {
  return createFakeUpstream({ tls: certificate, auth: { kind: 'basic', ...login } })
}

async function fill({ content }: FakeUpstream): Promise<SampleImage> {
  await pushImage(contentStore(content), 'app', { tag: 'cold', seed: 2 })
  return pushImage(contentStore(content), 'app', { tag: 'v1', seed: 1 })
}

async function startImpostor(
  impostor: Impostor,
  port: number,
): Promise<{ requests(): readonly unknown[]; close(): Promise<unknown> }> {
  if ('tls' in impostor) {
    const upstream = await createFakeUpstream({
      port,
      tls: await impostor.tls(),
      auth: { kind: 'basic', ...login },
    })
    await fill(upstream)
    seen.push(upstream)
    return upstream
  }
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    impostor.connection(socket)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    requests: () => [],
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
