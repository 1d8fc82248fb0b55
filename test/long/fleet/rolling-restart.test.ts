import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { type FleetPull, pullFrom, startLoad } from '../../rig/fleet-clients.ts'
import { startUpstreamProcess, type UpstreamProcess } from '../../rig/start-upstream-process.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const rounds = isShort ? 1 : 5
/** Longer than the balancer takes to see it, on a busy machine too. */
const delaySeconds = 3
const drainSeconds = 20
const largeBytes = 20 * 1024 ** 2
/** A large layer takes a slow client so long, which is less than the drain. */
const slowSeconds = isShort ? 2 : 4
/** For every round some that nobody has pulled before. */
const coldPerRound = 30

describeWithParts(['redis-server', 'versitygw'], 'P3: a fleet', () => {
  let upstream: UpstreamProcess
  let fleet: Fleet

  beforeAll(async () => {
    const cold = Array.from({ length: coldPerRound * rounds }, () => 200_000)
    upstream = await startUpstreamProcess({
      latencyMs: 10,
      images: [{ repository: 'foo', tag: 'bar', layers: [largeBytes, 1000, ...cold] }],
    })
    const args = ['--drain-delay-seconds', `${delaySeconds}`, '--drain-seconds', `${drainSeconds}`]
    fleet = await startFleet({ size: 3, upstream: upstream.url, args })
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })

  it(`fails no request while its replicas restart one after another, ${rounds} times`, async () => {
    const { manifest, layers } = upstream.images[0]!
    const [large, small, ...cold] = layers
    const blob = (digest: string) => `/v2/default/hub/foo/blobs/${digest}`
    const tag = '/v2/default/hub/foo/manifests/bar'
    const agent = new Agent({ keepAlive: true })
    const { balancer } = fleet
    for (const path of [tag, blob(small!.digest), blob(large!.digest)]) {
      for (const host of fleet.hosts) expect(await pullFrom(host, path)).toMatchObject({ status: 200 })
    }

    const right = new Set([manifest, ...layers].map(({ digest }) => digest as string))
    const each = (times: number, pull: () => Promise<FleetPull>) => Array.from({ length: times }, () => pull)
    const load = startLoad([
      ...each(4, () => pullFrom(balancer, tag, { agent })),
      ...each(2, () => pullFrom(balancer, blob(small!.digest))),
      ...each(2, () => pullFrom(balancer, blob(large!.digest), { agent })),
      ...each(3, () => pullFrom(balancer, blob(large!.digest), { bytesPerSecond: largeBytes / slowSeconds })),
      async () => {
        const next = cold.pop()
        await sleep(100)
        return pullFrom(balancer, blob((next ?? small!).digest))
      },
    ])
    const meanwhile: number[] = []
    for (let round = 0; round < rounds; round++) {
      for (const replica of fleet.replicas) {
        const at = load.done.length
        await fleet.restart(replica)
        meanwhile.push(load.done.length - at)
      }
    }
    const done = await load.stop()
    agent.destroy()

    console.info({ requests: done.length, duringEachRestart: meanwhile })
    const failed = done.filter(({ status, error, digest }) => status !== 200 || error || !right.has(digest))
    expect(failed).toEqual([])
    expect(done.length).toBeGreaterThan(100)
    expect(done.some(({ totalMs }) => totalMs > slowSeconds * 500)).toBe(true)
  })
})
