import { rm } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const mebi = 1024 * 1024

describeWithParts(['redis-server', 'versitygw'], 'one replica over S3 and Redis', () => {
  let redis: RedisServer
  let s3: S3Server
  let upstream: FakeUpstream
  let image: SampleImage
  let bucket: string
  const running: Headwater[] = []

  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
  })
  afterAll(async () => {
    await s3.close()
    await redis.close()
  })
  beforeEach(async () => {
    await redis.command('FLUSHALL')
    bucket = await s3.makeBucket()
    upstream = await createFakeUpstream()
    const store = contentStore(upstream.content)
    image = await pushImage(store, 'foo', { tag: 'bar', layers: [20 * mebi, 100_000], inMemory: true })
    await pushImage(store, 'foo/bar', { tag: 'bar', layers: [200_000], seed: 2, inMemory: true })
  })
  afterEach(async () => {
    for (const one of running.splice(0)) {
      await one.stop().catch(() => {})
      await rm(one.data, { recursive: true, force: true })
    }
    await upstream.close()
  })

  /** With an empty spool unless `data` is that of another. */
  async function replica({ data }: { data?: string } = {}): Promise<Headwater> {
    const headwater = await startHeadwater({
      resources: [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])],
      data: data ?? (await temporaryFolder()),
      args: ['--redis-url', redis.url, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint],
      env: s3.credentials,
    })
    running.push(headwater)
    return headwater
  }

  async function pullAll(headwater: Headwater): Promise<void> {
    for (const repository of ['foo', 'foo/bar']) {
      const head = await headwater.get(`/v2/default/hub/${repository}/manifests/bar`)
      expect(head.status).toBe(200)
      const manifest = (await head.json()) as { layers: { digest: string }[]; config: { digest: string } }
      for (const { digest } of [...manifest.layers, manifest.config]) {
        const blob = await pull(headwater, `/v2/default/hub/${repository}/blobs/${digest}`)
        expect([blob.status, blob.digest]).toEqual([200, digest])
      }
    }
  }

  const settled = (headwater: Headwater) =>
    expect.poll(() => headwater.metric('headwater_fills_in_progress')).toBe(0)

  it('serves what it pulled, and another with an empty spool does with the upstream stopped', async () => {
    const first = await replica()
    await pullAll(first)
    await settled(first)
    expect(await first.stop()).toBe(0)
    await upstream.close()
    const second = await replica()
    await pullAll(second)
    expect(await second.metric('headwater_store_failures_total')).toBe(0)
    expect(await (await fetch(`${second.adminUrl}/readyz`)).text()).toBe('ok\n')
    for (const store of ['redis', 's3'])
      expect(await second.metric('headwater_store_available', { store })).toBe(1)
  })

  it('R5 and R6: loses no image by FLUSHALL, also with the upstream stopped', async () => {
    const first = await replica()
    await pullAll(first)
    await settled(first)
    await upstream.close()
    await redis.command('FLUSHALL')
    await pullAll(first)
    const second = await replica()
    await redis.command('FLUSHALL')
    await pullAll(second)
    await redis.command('FLUSHALL')
    await pullAll(await replica())
  })

  it('asks S3 for nothing that its spool has', async () => {
    const first = await replica()
    await pullAll(first)
    await settled(first)
    await first.stop()
    const second = await replica({ data: first.data })
    await rm(`${s3.folderOf(bucket)}/blobs`, { recursive: true })
    await upstream.close()
    await pullAll(second)
    expect(image.layers).toHaveLength(2)
  })
})
