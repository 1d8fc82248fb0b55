import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { askedDuring } from '../../rig/asked.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

/** What containerd does through a balancer: HEAD of the tag, GET of the digest, each wherever it comes to. */
describeWithParts(
  ['redis-server', 'versitygw'],
  'a tag asked for at one replica and pulled by digest at another',
  () => {
    let redis: RedisServer
    let s3: S3Server
    let bucket: string
    let first: FakeUpstream
    let second: FakeUpstream
    let a: Headwater
    let b: Headwater

    beforeAll(async () => {
      redis = await startRedis()
      s3 = await startS3()
    })
    beforeEach(async () => {
      await redis.command('FLUSHALL')
      bucket = await s3.makeBucket()
      first = await createFakeUpstream()
      second = await createFakeUpstream()
      a = await replica()
      b = await replica()
    })
    afterEach(async () => {
      for (const one of [a, b]) {
        expect(await one.stop(), one.log()).toBe(0)
        await rm(one.data, { recursive: true, force: true })
      }
      await first.close()
      await second.close()
    })
    afterAll(async () => {
      await s3.close()
      await redis.close()
    })

    async function replica(): Promise<Headwater> {
      return startHeadwater({
        resources: [
          ...upstreamResources('first', { url: first.url, validitySeconds: 3600 }),
          ...upstreamResources('second', { url: second.url, validitySeconds: 3600 }),
          registryResource('hub', ['first', 'second']),
        ],
        data: await temporaryFolder(),
        args: ['--redis-url', redis.url, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint],
        env: s3.credentials,
      })
    }

    const push = async (upstream: FakeUpstream, seed: number, tag?: string) => {
      const options = { layers: [1000], seed, inMemory: true, ...(tag !== undefined && { tag }) }
      return (await pushImage(contentStore(upstream.content), 'app', options)).manifest.digest
    }
    const path = (reference: string) => `/v2/default/hub/app/manifests/${reference}`
    const headOf = (headwater: Headwater, reference: string) =>
      headwater.get(path(reference), { method: 'HEAD' })
    const tagDocuments = () =>
      s3.requests().filter((one) => one.startsWith(`PUT /${bucket}/`) && one.includes('/_tags/'))
    const linked = (digest: string) =>
      s3
        .requests()
        .some(
          (one) => one.startsWith(`PUT /${bucket}/`) && one.endsWith(`manifests/sha256/${digest.slice(7)}`),
        )
    const written = (count = 1) => expect.poll(() => tagDocuments().length, { timeout: 10_000 }).toBe(count)

    it('is cached as the tag, and served by both when the upstream is away', async () => {
      const digest = await push(second, 1, 'v1')
      expect((await headOf(a, 'v1')).headers.get('docker-content-digest')).toBe(digest)
      expect((await pull(b, path(digest))).digest).toBe(digest)
      await written()
      await first.stop()
      await second.stop()
      for (const one of [a, b]) {
        expect((await headOf(one, 'v1')).headers.get('docker-content-digest')).toBe(digest)
        expect(await pull(one, path('v1'))).toMatchObject({ status: 200, digest })
        expect(await askedDuring({ redis, s3 }, async () => void (await pull(one, path('v1'))))).toEqual({
          redis: [],
          s3: [],
        })
      }
    })

    it('is asked of the upstream where the tag was found', async () => {
      const digest = await push(second, 1, 'v1')
      expect(await push(first, 1)).toBe(digest)
      await headOf(a, 'v1')
      await pull(b, path(digest))
      await written()
      expect(first.requests({ method: 'GET', path: '*' }).map((one) => one.path)).toEqual([])
    })

    it('is not moved back by a digest it was before', async () => {
      const old = await push(second, 1, 'v1')
      await headOf(a, 'v1')
      const moved = await push(second, 2, 'v1')
      // one that asks within a moment is told what another was
      await sleep(1_000)
      expect((await pull(b, path('v1'))).digest).toBe(moved)
      await written()
      expect((await pull(a, path(old))).digest).toBe(old)
      await expect.poll(() => linked(old), { timeout: 10_000 }).toBe(true)
      await sleep(500)
      expect(tagDocuments()).toHaveLength(1)
      for (const one of [a, b]) expect((await pull(one, path('v1'))).digest).toBe(moved)
    })
  },
)
