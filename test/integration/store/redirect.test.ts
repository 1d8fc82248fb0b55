import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const mebi = 1024 * 1024

let upstream: FakeUpstream
let image: SampleImage
let headwater: Headwater

const resources = () => [
  ...upstreamResources('up', { url: upstream.url }),
  registryResource('hub', ['up'], { spec: { blobDelivery: 'Redirect' } }),
]
const pathOf = (digest: string, repository = 'app') => `/v2/default/hub/${repository}/blobs/${digest}`
const ask = (path: string, init?: RequestInit) => headwater.get(path, { redirect: 'manual', ...init })

async function start(args: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  headwater = await startHeadwater({ resources: resources(), args, env })
}

beforeAll(async () => {
  upstream = await createFakeUpstream()
  image = await pushImage(contentStore(upstream.content), 'app', {
    ...{ tag: 'one', layers: [3 * mebi, 2 * mebi], inMemory: true },
  })
})
afterAll(() => upstream.close())

describeWithParts(['redis-server', 'versitygw'], 'a registry that says Redirect, over S3', () => {
  let redis: RedisServer
  let s3: S3Server

  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    const shared = ['--redis-url', redis.url, '--s3-bucket', await s3.makeBucket()]
    await start([...shared, '--s3-endpoint', s3.endpoint], s3.credentials)
  })
  afterAll(async () => {
    await headwater.close()
    await s3.close()
    await redis.close()
  })

  it('streams a blob itself while it comes, and sends clients to S3 once it is there', async () => {
    const { digest, size } = image.layers[0]!
    const cold = await pull(headwater, pathOf(digest))
    expect([cold.status, cold.digest]).toEqual([200, digest])
    await expect.poll(async () => (await ask(pathOf(digest))).status).toBe(307)

    const redirect = await ask(pathOf(digest))
    const there = await fetch(redirect.headers.get('location') ?? '')
    expect([there.status, there.headers.get('content-type')]).toEqual([200, 'application/octet-stream'])
    expect((await there.arrayBuffer()).byteLength).toBe(size)
    const followed = await pull(headwater, pathOf(digest), { headers: { range: 'bytes=1000-1999' } })
    expect([followed.status, followed.bytes, followed.headers.get('content-range')]).toEqual([
      ...[206, 1000, `bytes 1000-1999/${size}`],
    ])
    const head = await ask(pathOf(digest), { method: 'HEAD' })
    expect([head.status, head.headers.get('content-length')]).toEqual([200, String(size)])
  })

  it('sends nobody there who has no right to the blob', async () => {
    expect((await ask(pathOf(image.layers[0]!.digest, 'another'))).status).toBe(404)
  })

  it('sends blobs itself while S3 is away (bucket S1), and clients there again when it is back', async () => {
    const { digest } = image.layers[0]!
    await s3.kill()
    const answer = async () => {
      const { status, digest } = await pull(headwater, pathOf(image.layers[0]!.digest), {
        redirect: 'manual',
      })
      return [status, digest]
    }
    await expect.poll(answer, { timeout: 10_000 }).toEqual([200, digest])
    for (let n = 0; n < 5; n++) expect(await answer()).toEqual([200, digest])
    await s3.start()
    await expect.poll(async () => (await ask(pathOf(digest))).status, { timeout: 10_000 }).toBe(307)
  })
})

describe('a registry that says Redirect, without S3', () => {
  beforeAll(() => start([], {}))
  afterAll(() => headwater.close())

  it('is served by the proxy, and the log says why', async () => {
    const { digest } = image.layers[1]!
    for (let n = 0; n < 2; n++) {
      const blob = await pull(headwater, pathOf(digest), { redirect: 'manual' })
      expect([blob.status, blob.digest]).toEqual([200, digest])
    }
    const said = () => headwater.logged().filter(({ registries }) => Array.isArray(registries))
    await expect
      .poll(said)
      .toMatchObject([
        { level: 40, registries: ['default/hub'], msg: expect.stringContaining('--s3-bucket') },
      ])
  })
})
