import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { createFaultProxy, type FaultProxy } from '../../rig/fault-proxy.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { pull } from '../../rig/pulling.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

describeWithParts(['redis-server', 'versitygw'], 'replicas of one cache', () => {
  let redis: RedisServer
  let redisPort: FaultProxy
  let s3: S3Server
  let upstream: FakeUpstream
  let bucket: string
  let moves = 0
  const running: Headwater[] = []

  beforeAll(async () => {
    redis = await startRedis()
    redisPort = await createFaultProxy(redis.port)
    s3 = await startS3()
    bucket = await s3.makeBucket()
    upstream = await createFakeUpstream()
  })
  afterEach(async () => {
    await redisPort.lift()
    for (const one of running.splice(0)) {
      expect(await one.stop(), one.log()).toBe(0)
      await rm(one.data, { recursive: true, force: true })
    }
  })
  afterAll(async () => {
    await upstream.close()
    await redisPort.close()
    await s3.close()
    await redis.close()
  })

  /** For the first a tag is stale after a second, for the others it stays as it is: only news moves it there. */
  async function replica(port: number, validitySeconds: number): Promise<Headwater> {
    const headwater = await startHeadwater({
      resources: [
        ...upstreamResources('up', { url: upstream.url, validitySeconds }),
        registryResource('hub', ['up']),
      ],
      data: await temporaryFolder(),
      args: [
        ...['--redis-url', `redis://127.0.0.1:${port}`, '--s3-bucket', bucket, '--s3-endpoint', s3.endpoint],
      ],
      env: s3.credentials,
    })
    running.push(headwater)
    return headwater
  }

  async function move(repository: string): Promise<string> {
    moves += 1
    const options = { tag: 'v1', layers: [1000], seed: 1000 + moves, inMemory: true }
    return (await pushImage(contentStore(upstream.content), repository, options)).manifest.digest
  }

  const digestAt = async (headwater: Headwater, repository: string) =>
    (await pull(headwater, `/v2/default/hub/${repository}/manifests/v1`)).digest

  /** Pulls from all of them all the time; every answer with the time it was begun at. */
  function watch(headwaters: readonly Headwater[], repository: string) {
    const seen: { at: number; digest: string }[] = []
    let going = true
    const done = Promise.all(
      headwaters.map(async (headwater) => {
        while (going) {
          const at = performance.now()
          seen.push({ at, digest: await digestAt(headwater, repository) })
        }
      }),
    )
    return {
      async stop() {
        going = false
        await done
        return seen
      },
    }
  }

  describe('a tag that one of them finds moved', () => {
    it('is the new one on all of them at once', async () => {
      const old = await move('app')
      const first = await replica(redis.port, 1)
      const others = [await replica(redis.port, 3600), await replica(redis.port, 3600)]
      for (const one of [first, ...others]) expect(await digestAt(one, 'app')).toBe(old)
      await sleep(1_200)
      const moved = await move('app')
      const watching = watch(others, 'app')
      await sleep(300)
      expect(await digestAt(first, 'app')).toBe(moved)
      const movedAt = performance.now()
      await sleep(1_500)
      const seen = await watching.stop()
      expect(new Set(seen.map(({ digest }) => digest))).toEqual(new Set([old, moved]))
      expect(seen.filter(({ at, digest }) => at > movedAt + 1_000 && digest !== moved)).toEqual([])
    })

    it('is the new one a second later where the news do not come', async () => {
      const old = await move('other')
      const first = await replica(redis.port, 1)
      const cut = await replica(redisPort.port, 3600)
      for (const one of [first, cut]) expect(await digestAt(one, 'other')).toBe(old)
      await sleep(1_200)
      expect(await digestAt(cut, 'other')).toBe(old)
      const moved = await move('other')
      const watching = watch([cut], 'other')
      await redisPort.set({ kind: 'stall' })
      expect(await digestAt(first, 'other')).toBe(moved)
      await sleep(2_500)
      await redisPort.lift()
      await expect.poll(() => digestAt(cut, 'other'), { timeout: 5_000 }).toBe(moved)
      await sleep(1_000)
      const seen = await watching.stop()
      const last = seen.findLastIndex(({ digest }) => digest === old)
      expect(seen.slice(last + 1).length).toBeGreaterThan(0)
      expect(seen[last]!.at - seen[0]!.at).toBeLessThan(1_700)
    })

    it('R8: is the new one for the others once the one that found it so reaches Redis again', async () => {
      const old = await move('cut')
      const cut = await replica(redisPort.port, 1)
      const other = await replica(redis.port, 3600)
      for (const one of [cut, other]) expect(await digestAt(one, 'cut')).toBe(old)
      await sleep(1_200)
      expect(await digestAt(other, 'cut')).toBe(old)
      const moved = await move('cut')
      await redisPort.set({ kind: 'reset' })
      await expect.poll(() => digestAt(cut, 'cut'), { timeout: 10_000 }).toBe(moved)
      await sleep(1_000)
      expect(await digestAt(other, 'cut')).toBe(old) // it cannot know
      await redisPort.lift()
      await expect.poll(() => digestAt(other, 'cut'), { timeout: 10_000 }).toBe(moved)
    })
  })
})
