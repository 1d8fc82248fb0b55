import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { fault } from '../../rig/fake-upstream.ts'
import { startProbing } from '../../rig/probing.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { createStoreScene, pullImage, type StoreScene } from './store-scene.ts'

/** As the kubelet has it unless it is told otherwise. */
const timeoutMs = 1_000

describeWithParts(['redis-server'], 'a replica all of whose dependencies are frozen', () => {
  let redis: RedisServer
  let scene: StoreScene

  beforeAll(async () => {
    redis = await startRedis()
    scene = await createStoreScene({ rows: 1, redisPort: redis.port })
  })
  afterAll(async () => {
    await scene?.close()
    await redis?.close()
  })

  it('P9: answers its probes in time, for they ask none of them', async () => {
    const { headwater, upstream, s3, invariants, images, get, readiness } = scene
    const { warm, stored, cold, later } = images[0]!
    invariants.begin()
    redis.signal('SIGSTOP')
    s3.always('all', { kind: 'hang' })
    upstream.always('*', '*', fault.hang())
    const probing = startProbing(headwater)
    const waiting = [stored, cold].flatMap((image) =>
      Array.from({ length: 20 }, () => get(image, 'manifests/v1')),
    )
    await sleep(3_000)
    expect(await readiness()).toBe('degraded: without redis and s3')
    // what this replica has on its disk needs none of them
    await pullImage((path) => get(warm, path), warm)
    const probes = await probing.end()
    expect(probes.filter(({ status }) => status !== 200)).toEqual([])
    expect(Math.max(...probes.map(({ ms }) => ms))).toBeLessThan(timeoutMs)

    redis.signal('SIGCONT')
    s3.lift()
    await upstream.heal()
    for (const { status } of await Promise.all(waiting)) expect([200, 503]).toContain(status)
    await invariants.expect({
      upstreams: [upstream],
      requestsAtMost: 20,
      repository: cold.repository,
      digests: [cold.manifest.digest],
      heal: () => expect.poll(readiness, { timeout: 15_000 }).toBe('ok'),
      cold: `/v2/default/hub/${later.repository}/manifests/v1`,
    })
  })
})
