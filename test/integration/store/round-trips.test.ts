import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { hexOf } from '../../../proxy/oci/digest.ts'
import { askedDuring } from '../../rig/asked.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const times = 100
/** Where this machine was too slow for the news of a second, memory is rightly not believed and Redis asked again. */
const retry = 3

/** Counted by Redis and by S3 themselves. */
describeWithParts(['redis-server', 'versitygw'], 'a warm request', () => {
  let redis: RedisServer
  let s3: S3Server
  let bucket: string
  let upstream: FakeUpstream
  let image: SampleImage
  const running: Headwater[] = []

  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    bucket = await s3.makeBucket()
    upstream = await createFakeUpstream()
    const layers = [2 * 1024 * 1024, 1000]
    image = await pushImage(contentStore(upstream.content), 'app', { tag: 'v1', layers, inMemory: true })
    const first = await replica()
    for (const path of Object.values(paths())) await pull(first, path)
    // bytes and link of each, and the tag
    const puts = () => s3.requests().filter((one) => one.startsWith('PUT'))
    await vi.waitFor(() => expect(puts().length).toBeGreaterThanOrEqual(7), { timeout: 20_000 })
  })
  afterAll(async () => {
    for (const one of running) {
      expect(await one.stop(), one.log()).toBe(0)
      await rm(one.data, { recursive: true, force: true })
    }
    await upstream.close()
    await s3.close()
    await redis.close()
  })

  async function replica(): Promise<Headwater> {
    const headwater = await startHeadwater({
      resources: [
        ...upstreamResources('up', { url: upstream.url, validitySeconds: 3600 }),
        registryResource('hub', ['up']),
      ],
      data: await temporaryFolder(),
      args: [...['--redis-url', redis.url, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint]],
      env: s3.credentials,
    })
    running.push(headwater)
    return headwater
  }

  const paths = () => ({
    tag: '/v2/default/hub/app/manifests/v1',
    manifest: `/v2/default/hub/app/manifests/${image.manifest.digest}`,
    small: `/v2/default/hub/app/blobs/${image.layers[1]!.digest}`,
    large: `/v2/default/hub/app/blobs/${image.layers[0]!.digest}`,
  })

  it.each([
    ['tag', 'memory'],
    ['manifest', 'memory'],
    ['small', 'memory'],
    ['large', 'disk'],
  ] as const)(
    'asks neither Redis nor S3 where the replica has it: %s, in %s',
    { retry },
    async (name, source) => {
      const [headwater] = running
      const path = paths()[name]
      expect((await pull(headwater!, path)).status).toBe(200)
      const served = () => headwater!.metric('headwater_served_bytes_total', { source })
      const before = await served()
      let bytes = 0
      const asked = await askedDuring({ redis, s3 }, async () => {
        for (let n = 0; n < times; n++) {
          // a condition goes the whole way, which ready answers do not
          const init = n % 2 === 0 ? {} : { headers: { 'if-none-match': '"another"' } }
          bytes += (await pull(headwater!, path, init)).bytes
        }
      })
      expect(asked).toEqual({ redis: [], s3: [] })
      expect((await served()) - before).toBe(bytes)
    },
  )

  it('asks S3 for one GET where the replica has it not, however many clients want it', {
    retry,
  }, async () => {
    const other = await replica()
    for (const [name, { digest }] of [
      ['tag', image.manifest],
      ['small', image.layers[1]!],
      ['large', image.layers[0]!],
    ] as const) {
      const asked = await askedDuring({ redis, s3 }, async () => {
        const pulls = await Promise.all(Array.from({ length: 5 }, () => pull(other, paths()[name])))
        for (const one of pulls) expect(one).toMatchObject({ status: 200, digest })
      })
      expect(asked.redis.length).toBeGreaterThan(0) // its link, which it had not
      expect(asked.s3).toEqual([`GET /${bucket}/blobs/sha256/${hexOf(digest).slice(0, 2)}/${hexOf(digest)}`])
      expect(
        (await askedDuring({ redis, s3 }, async () => void (await pull(other, paths()[name])))).s3,
      ).toEqual([])
    }
    expect(upstream.requests().filter(({ method }) => method === 'GET')).toHaveLength(3)
  })
})
