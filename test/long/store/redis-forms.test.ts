import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { parseRedisAddress } from '../../../proxy/store/redis-address.ts'
import { createRedisChanges } from '../../../proxy/store/redis-changes.ts'
import {
  connectToRedis,
  type RedisConnection,
  subscribeToRedis,
} from '../../../proxy/store/redis-connection.ts'
import { createRedisIndexStore } from '../../../proxy/store/redis-index-store.ts'
import { createRedisLeases } from '../../../proxy/store/redis-leases.ts'
import { describeIndexStore } from '../../contracts/index-store.ts'
import { describeLeases } from '../../contracts/leases.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisForm, startCluster, startSentinel, startTlsRedis } from '../../rig/redis-forms.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

describeWithParts(['redis-server', 'openssl'], 'a Redis', () => {
  const trusted = getCACertificates('default')
  afterAll(() => setDefaultCACertificates(trusted))

  describe.each<[string, () => Promise<RedisForm>]>([
    ['behind Sentinel', startSentinel],
    ['that is a Cluster', startCluster],
    [
      'over TLS',
      async () => {
        const redis = await startTlsRedis()
        setDefaultCACertificates([...trusted, redis.ca])
        return redis
      },
    ],
  ])('%s', (name, start) => {
    let form: RedisForm
    let redis: RedisConnection

    beforeAll(async () => {
      form = await start()
      redis = connectToRedis(parseRedisAddress(form.url)!)
      expect(await redis.ready(10_000)).toBe(true)
    })
    afterAll(async () => {
      redis?.close()
      await form?.close()
    })

    describeIndexStore(`Redis ${name}`, async () => {
      await form.flush()
      return createRedisIndexStore({ redis })
    })
    describeLeases(`those of Redis ${name}`, async () => {
      await form.flush()
      return createRedisLeases({ redis })
    })

    it('brings the news of one replica to the others', async () => {
      const connections = [redis, connectToRedis(parseRedisAddress(form.url)!)]
      await connections[1]!.ready(10_000)
      const changes = connections.map((connection) =>
        createRedisChanges({
          redis: connection,
          subscribe: (options) => subscribeToRedis(parseRedisAddress(form.url)!, options),
        }),
      )
      const heard: string[] = []
      changes[1]!.listen((key) => heard.push(key))
      for (const one of changes) await expect.poll(() => one.epoch(), { timeout: 10_000 }).toBeDefined()
      changes[0]!.announce('a key')
      await expect.poll(() => heard, { timeout: 5_000 }).toEqual(['a key'])
      for (const one of changes) one.close()
      connections[1]!.close()
    })

    it('R15: has another epoch after a subscription was cut, however soon it is there again', async () => {
      const changes = createRedisChanges({
        redis,
        subscribe: (options) => subscribeToRedis(parseRedisAddress(form.url)!, options),
      })
      await expect.poll(() => changes.epoch(), { timeout: 10_000 }).toBeDefined()
      const first = changes.epoch() ?? 0
      for (const server of form.servers) await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
      await expect.poll(() => changes.epoch() ?? first, { timeout: 10_000 }).toBeGreaterThan(first)
      changes.close()
    })
  })
})

describeWithParts(['redis-server', 'versitygw', 'openssl'], 'a replica over a Redis', () => {
  let s3: S3Server
  let upstream: FakeUpstream
  let images = 0
  let headwater: Headwater | undefined

  beforeAll(async () => {
    s3 = await startS3()
    upstream = await createFakeUpstream()
  })
  afterEach(async () => {
    expect(await headwater?.stop(), headwater?.log()).toBe(0)
    await rm(headwater!.data, { recursive: true, force: true })
    headwater = undefined
  })
  afterAll(async () => {
    await upstream?.close()
    await s3?.close()
  })

  async function startReplica(url: string, env: Record<string, string> = {}): Promise<Headwater> {
    headwater = await startHeadwater({
      resources: [...upstreamResources('up', { url: upstream.url }), registryResource('hub', ['up'])],
      data: await temporaryFolder(),
      args: ['--redis-url', url, '--s3-bucket', await s3.makeBucket(), '--s3-endpoint', s3.endpoint],
      env: { ...s3.credentials, ...env },
    })
    return headwater
  }

  /** An image nobody has asked for, and once more as what is cached. */
  async function pullAnother(): Promise<void> {
    images += 1
    const repository = `app${images}`
    const options = { tag: 'v1', layers: [50_000], seed: images, inMemory: true }
    const { manifest, layers } = await pushImage(contentStore(upstream.content), repository, options)
    for (let twice = 0; twice < 2; twice++) {
      for (const [path, digest] of [
        ['manifests/v1', manifest.digest],
        [`blobs/${layers[0]!.digest}`, layers[0]!.digest],
      ] as const) {
        const pulled = await pull(headwater!, `/v2/default/hub/${repository}/${path}`)
        expect([pulled.status, pulled.digest]).toEqual([200, digest])
      }
    }
  }

  const readiness = async () => (await (await fetch(`${headwater!.adminUrl}/readyz`)).text()).trim()
  const expectWell = () => expect.poll(readiness, { timeout: 15_000 }).toBe('ok')

  it('R7: behind Sentinel goes on while the master is lost, and uses the new one by itself', async () => {
    const redis = await startSentinel()
    await startReplica(redis.url)
    await expectWell()
    await pullAnother()
    const [master, replica] = redis.servers
    await master!.kill()
    while ((await redis.masterPort()) !== replica!.port) await pullAnother()
    await expectWell()
    await pullAnother()
    const entries = () => replica!.command('KEYS', `hw1:t:*/app${images}}:v1`)
    await expect.poll(entries, { timeout: 5_000 }).toContain(`app${images}}`)
    await redis.close()
  })

  it('R14: that is a Cluster goes on while a third of it is lost, and uses it again when it is back', async () => {
    const redis = await startCluster()
    await startReplica(redis.url)
    await expectWell()
    await pullAnother()
    redis.servers[1]!.signal('SIGSTOP')
    for (const end = Date.now() + 3_000; Date.now() < end; ) await pullAnother()
    await expect.poll(readiness, { timeout: 10_000 }).toBe('degraded: without redis')
    const seen = new Set<string>()
    for (const end = Date.now() + 1_000; Date.now() < end; await sleep(20)) seen.add(await readiness())
    expect([...seen]).toEqual(['degraded: without redis'])
    redis.servers[1]!.signal('SIGCONT')
    await expectWell()
    await pullAnother()
    await redis.close()
  })

  it('R13: over TLS goes on when its certificate is another, and does without one that nobody vouches for', async () => {
    const redis = await startTlsRedis()
    await startReplica(redis.url, { NODE_EXTRA_CA_CERTS: redis.caFile })
    await expectWell()
    await pullAnother()
    await redis.renew()
    await redis.servers[0]!.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await redis.servers[0]!.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await expectWell()
    await pullAnother()
    expect(await headwater!.stop()).toBe(0)
    await rm(headwater!.data, { recursive: true, force: true })

    await startReplica(redis.url)
    expect(await readiness()).toBe('degraded: without redis')
    await pullAnother()
    await redis.close()
  })
})
