import { rm } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeRedis, nonsenseReplies } from '../../rig/fake-redis.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { createFaultProxy, type FaultProxy } from '../../rig/fault-proxy.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

/** What a store that is away may add to a request that was under way, and what a busy machine may. */
const boundMs = 500
const slackMs = 200

describeWithParts(['redis-server', 'versitygw'], 'a replica whose stores fail', () => {
  let redis: RedisServer
  let s3: S3Server
  let redisPort: FaultProxy
  let s3Port: FaultProxy
  let upstream: FakeUpstream
  let bucket: string
  let images = 0
  const running: Headwater[] = []

  beforeAll(async () => {
    redis = await startRedis()
    s3 = await startS3()
    redisPort = await createFaultProxy(redis.port)
    s3Port = await createFaultProxy(s3.port)
    bucket = await s3.makeBucket()
    upstream = await createFakeUpstream()
  })
  afterEach(async () => {
    await Promise.all([redisPort.lift(), s3Port.lift()])
    for (const one of running.splice(0)) {
      expect(await one.stop(), one.log()).toBe(0)
      await rm(one.data, { recursive: true, force: true })
    }
  })
  afterAll(async () => {
    await upstream.close()
    await Promise.all([redisPort.close(), s3Port.close()])
    await s3.close()
    await redis.close()
  })

  async function replica({ url = `redis://127.0.0.1:${redisPort.port}` } = {}): Promise<Headwater> {
    const headwater = await startHeadwater({
      resources: [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])],
      data: await temporaryFolder(),
      args: ['--redis-url', url, '--s3-bucket', bucket, '--s3-endpoint', `http://127.0.0.1:${s3Port.port}`],
      env: s3.credentials,
    })
    running.push(headwater)
    return headwater
  }

  interface Pushed {
    readonly repository: string
    readonly image: SampleImage
  }

  /** An image that nobody has pulled: a request for it asks every store. */
  async function push(layerBytes = 50_000): Promise<Pushed> {
    images += 1
    const repository = `app${images}`
    const options = { tag: 'v1', layers: [layerBytes], seed: images, inMemory: true }
    return { repository, image: await pushImage(contentStore(upstream.content), repository, options) }
  }

  const pushMany = (count: number) => Promise.all(Array.from({ length: count }, () => push()))

  /** How long the slowest of its requests took. */
  async function pullImage(headwater: Headwater, { repository, image }: Pushed): Promise<number> {
    const times: number[] = []
    const get = async (path: string, digest: string) => {
      const startedAt = performance.now()
      const pulled = await pull(headwater, `/v2/default/hub/${repository}/${path}`)
      expect([pulled.status, pulled.digest]).toEqual([200, digest])
      times.push(performance.now() - startedAt)
    }
    await get('manifests/v1', image.manifest.digest)
    for (const { digest } of [...image.layers, image.config]) await get(`blobs/${digest}`, digest)
    return Math.max(...times)
  }

  const readiness = async ({ adminUrl }: Headwater) => {
    const answer = await fetch(`${adminUrl}/readyz`)
    return `${answer.status} ${(await answer.text()).trim()}`
  }
  const expectWell = (headwater: Headwater) =>
    expect.poll(() => readiness(headwater), { timeout: 10_000 }).toBe('200 ok')

  /** Pulls while the fault begins, and while it is on; gives how long the slowest request of each took. */
  async function through(
    headwater: Headwater,
    begin: () => Promise<unknown> | unknown,
    end: () => Promise<unknown> | unknown,
  ): Promise<{ before: number; during: number; after: number }> {
    const [warm, first, second] = [await pushMany(8), await pushMany(8), await pushMany(8)]
    const slowest = async (images: readonly Pushed[]) =>
      Math.max(...(await Promise.all(images.map((one) => pullImage(headwater, one)))))
    await slowest(await pushMany(2))
    const before = await slowest(warm)
    const pulling = slowest(first)
    await begin()
    const during = await pulling
    const after = await slowest(second)
    await end()
    await expectWell(headwater)
    await slowest(await pushMany(2))
    return { before, during, after }
  }

  describe('Redis', () => {
    it('R1: down at the start: ready without it, and with it once it is there', async () => {
      await redisPort.set({ kind: 'refuse' })
      const headwater = await replica()
      expect(await readiness(headwater)).toBe('200 degraded: without redis')
      expect(await headwater.metric('headwater_store_available', { store: 'redis' })).toBe(0)
      const image = await push()
      await pullImage(headwater, image)
      await redisPort.lift()
      await expectWell(headwater)
      expect(await headwater.metric('headwater_store_available', { store: 'redis' })).toBe(1)
      await pullImage(headwater, image)
    })

    it('R2: killed under requests: all of them end well, and it comes back by itself', async () => {
      const headwater = await replica()
      const times = await through(headwater, redis.kill, redis.start)
      expect(times.during).toBeLessThan(times.before + boundMs)
    })

    it('R3: frozen: half a second for who was under way, nothing for who comes after', async () => {
      const headwater = await replica()
      const times = await through(
        headwater,
        () => redis.signal('SIGSTOP'),
        () => redis.signal('SIGCONT'),
      )
      expect(times.during).toBeLessThan(times.before + boundMs)
      expect(times.after).toBeLessThan(times.before + slackMs)
    })

    it('R3: behind a network that swallows everything, likewise', async () => {
      const headwater = await replica()
      const times = await through(headwater, () => redisPort.set({ kind: 'stall' }), redisPort.lift)
      expect(times.during).toBeLessThan(times.before + boundMs)
      expect(times.after).toBeLessThan(times.before + slackMs)
    })

    it.each([50, 2_000])('R4: slow by %i ms each way: bounded', async (ms) => {
      const headwater = await replica()
      const times = await through(headwater, () => redisPort.set({ kind: 'latency', ms }), redisPort.lift)
      expect(times.after).toBeLessThan(times.before + 10 * 2 * Math.min(ms, 50) + slackMs)
    })

    it('R7: made a replica: what cannot be written is done without', async () => {
      const headwater = await replica()
      await through(
        headwater,
        () => redis.command('REPLICAOF', '127.0.0.1', '1'),
        () => redis.command('REPLICAOF', 'NO', 'ONE'),
      )
    })

    it('R8: two replicas that see two of them serve the same', async () => {
      const other = await startRedis()
      const headwaters = [await replica(), await replica({ url: other.url })]
      const images = await pushMany(3)
      for (const headwater of headwaters) for (const image of images) await pullImage(headwater, image)
      for (const one of running.splice(0)) await one.stop()
      await other.close()
    })

    it('R9: full: reads go on, writes are done without', async () => {
      const headwater = await replica()
      const limit = (bytes: string) => redis.command('CONFIG', 'SET', 'maxmemory', bytes)
      await through(
        headwater,
        () => limit('1'),
        () => limit('0'),
      )
    })

    it('R10: evicting everything is a cache that forgets', async () => {
      const headwater = await replica()
      const set = (name: string, value: string) => redis.command('CONFIG', 'SET', name, value)
      await set('maxmemory-policy', 'allkeys-random')
      await through(
        headwater,
        () => set('maxmemory', '1200kb'),
        () => set('maxmemory', '0'),
      )
      await set('maxmemory-policy', 'noeviction')
    })

    it('R13: with another password: without it until it is ours again', async () => {
      const headwater = await replica()
      await redis.command('CONFIG', 'SET', 'requirepass', 'another')
      await redisPort.set({ kind: 'reset' })
      await redisPort.lift()
      const images = await pushMany(2)
      for (const image of images) await pullImage(headwater, image)
      await expect.poll(() => readiness(headwater)).toBe('200 degraded: without redis')
      await redis.kill()
      await redis.start()
      await expectWell(headwater)
      for (const image of images) await pullImage(headwater, image)
    })

    it('R14: that answers anything but what it was asked is done without, and believed again later', async () => {
      const fake = await createFakeRedis()
      const headwater = await replica({ url: fake.url })
      await pullImage(headwater, await push())
      for (const reply of nonsenseReplies) {
        fake.answer(reply)
        for (const image of await pushMany(2)) {
          expect(await pullImage(headwater, image), reply).toBeLessThan(boundMs + slackMs)
        }
        fake.answer(undefined)
        await expectWell(headwater)
        await pullImage(headwater, await push())
      }
      for (const one of running.splice(0)) expect(await one.stop(), one.log()).toBe(0)
      await fake.close()
    })
  })

  describe('S3', () => {
    it('bucket S1: down: what is cached comes from upstream; without that it is a 503, and neither needs a hand', async () => {
      const image = await push(3_000_000)
      await pullImage(await replica(), image)
      const headwater = await replica()
      await s3Port.set({ kind: 'refuse' })
      await pullImage(headwater, image)
      await expect.poll(() => readiness(headwater)).toBe('200 degraded: without s3')
      const another = await push()
      await pullImage(headwater, another)
      await s3Port.lift()
      await expectWell(headwater)
      await pullImage(headwater, await push())
    })

    it('bucket S1: down with the upstream down too: 503, and 200 once S3 is back', async () => {
      const image = await push()
      await pullImage(await replica(), image)
      const headwater = await replica()
      await s3Port.set({ kind: 'refuse' })
      await upstream.stop()
      const path = `/v2/default/hub/${image.repository}/manifests/v1`
      const refused = await headwater.get(path)
      expect([refused.status, await refused.json()]).toMatchObject([503, { errors: [{}] }])
      await s3Port.lift()
      await expectWell(headwater)
      expect((await headwater.get(path)).status).toBe(200)
      await upstream.heal()
    })

    it('bucket S3: frozen: bounded for who was under way, nothing for who comes after', async () => {
      const headwater = await replica()
      const times = await through(
        headwater,
        () => s3.signal('SIGSTOP'),
        () => s3.signal('SIGCONT'),
      )
      expect(times.during).toBeLessThan(times.before + 2_000 + slackMs)
      expect(times.after).toBeLessThan(times.before + slackMs)
    })

    it('bucket S4: cut in the middle of a body: the client has it whole', async () => {
      const { repository, image } = await push(12_000_000)
      await pullImage(await replica(), { repository, image })
      await upstream.stop()
      const headwater = await replica()
      const path = `/v2/default/hub/${repository}`
      await pull(headwater, `${path}/manifests/v1`)
      await s3Port.set({ kind: 'cut', bytes: 4_000_000 })
      const pulled = await pull(headwater, `${path}/blobs/${image.layers[0]!.digest}`)
      expect(pulled.digest).toBe(image.layers[0]!.digest)
      await upstream.heal()
    })
  })
})
