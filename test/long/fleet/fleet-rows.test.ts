import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ask } from '../../rig/asking.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Fleet, type Replica, startFleet } from '../../rig/fleet.ts'
import { type FleetPull, pullFrom } from '../../rig/fleet-clients.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { type FleetInvariants, watchFleet } from '../../rig/watch-fleet.ts'

const layerBytes = 20_000_000
const bytesPerSecond = 8_000_000
const isShort = process.env.HEADWATER_SHORT === '1'

/** What one waits for a dead bringer's lease, and what a machine that is busy with a whole fleet adds. */
const longestWaitMs = 3_000 + 4_000

describeWithParts(['redis-server', 'versitygw'], 'three replicas', () => {
  let upstream: FakeUpstream
  let bystander: FakeUpstream
  let fleet: Fleet
  let image: SampleImage

  beforeEach(async () => {
    upstream = await createFakeUpstream()
    bystander = await createFakeUpstream()
    await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })
    const store = contentStore(upstream.content)
    image = await pushImage(store, 'app', { tag: 'v1', layers: [layerBytes, 50_000], inMemory: true })
    await pushImage(store, 'later', { tag: 'v1', seed: 9, inMemory: true })
    upstream.always('GET', `/v2/app/blobs/${image.layers[0]!.digest}`, fault.slow(bytesPerSecond))
    const resources = () => [
      ...upstreamResources('up', { url: upstream.url }),
      ...upstreamResources('bystander', { url: bystander.url }),
      registryResource('hub', ['up']),
      registryResource('bystander', ['bystander']),
    ]
    fleet = await startFleet({ size: 3, upstream: upstream.url, resources })
  })
  afterEach(async () => {
    await fleet?.close()
    await upstream?.close()
    await bystander?.close()
  })

  const blobPath = () => `/v2/default/hub/app/blobs/${image.layers[0]!.digest}`
  const gets = (path: string) => upstream.requests({ method: 'GET', path }).length
  async function watch(): Promise<FleetInvariants> {
    const invariants = await watchFleet(fleet, [upstream, bystander])
    invariants.begin()
    return invariants
  }

  /** What is left after it: all invariants on those who live, and the blob once in the bucket. */
  async function expectWell(invariants: FleetInvariants, lost?: Replica): Promise<void> {
    const aftermath = {
      upstreams: [upstream],
      requestsAtMost: 30,
      repository: 'app',
      digests: [image.manifest.digest, image.layers[0]!.digest],
      cold: '/v2/default/hub/later/manifests/v1',
    }
    await invariants.expect(aftermath, lost)
    await invariants.stop()
    await expect.poll(() => fleet.blobObjects(image.layers[0]!.digest), { timeout: 15_000 }).toHaveLength(1)
  }

  /** Who brings the layer once all three are asked for it, and the pulls that run. */
  async function pullEverywhere(): Promise<{ leader: Replica; pulling: Map<Replica, Promise<FleetPull>> }> {
    const pulling = new Map(
      fleet.replicas.map((one) => [one, pullFrom(one.headwater.host, blobPath())] as const),
    )
    await expect.poll(() => fleet.leader(image.layers[0]!.digest), { timeout: 10_000 }).toBeDefined()
    await sleep(500)
    const leader = await fleet.leader(image.layers[0]!.digest)
    return { leader: leader!, pulling }
  }

  function expectWhole(pull: FleetPull): void {
    const { status, digest, error } = pull
    expect({ status, digest, error }).toEqual({
      status: 200,
      digest: image.layers[0]!.digest,
      error: undefined,
    })
    expect(pull.longestWaitMs).toBeLessThan(longestWaitMs)
  }

  it('P1, R12: who holds a lease is killed: its clients are cut and get the rest elsewhere, others notice nothing', async () => {
    const invariants = await watch()
    const { leader, pulling } = await pullEverywhere()
    const others = fleet.replicas.filter((one) => one !== leader)
    leader.headwater.signal('SIGKILL')
    const cut = await pulling.get(leader)!
    expect(cut.error).toBeDefined()
    expect(cut.bytes).toBeLessThan(image.layers[0]!.size)

    const headers = { range: `bytes=${cut.bytes}-` }
    const rest = await ask(others[0]!.headwater, blobPath(), { headers })
    expect([rest.status, rest.cut, rest.body.length]).toEqual([206, false, image.layers[0]!.size - cut.bytes])
    for (const other of others) expectWhole(await pulling.get(other)!)
    await expectWell(invariants, leader)
  })

  it('R16: the clock of Redis jumps back, and a lease seems to hold for an hour: nobody waits for it', async () => {
    const invariants = await watch()
    const { leader, pulling } = await pullEverywhere()
    const others = fleet.replicas.filter((one) => one !== leader)
    leader.headwater.signal('SIGSTOP')
    const keys = await fleet.redis.command('KEYS', `hw1:f:${image.layers[0]!.digest}*`)
    for (const [key] of keys.matchAll(/hw1:f:[^\r]+/g)) await fleet.redis.command('PEXPIRE', key, '3600000')
    for (const other of others) expectWhole(await pulling.get(other)!)
    leader.headwater.signal('SIGCONT')
    expect((await pulling.get(leader)!).digest).toBe(image.layers[0]!.digest)
    await expectWell(invariants, leader)
  })

  it.skipIf(isShort)(
    'R16: the clock of Redis jumps forth, and every lease is over: all have their bytes',
    async () => {
      const invariants = await watch()
      const { pulling } = await pullEverywhere()
      await fleet.redis.command('FLUSHALL')
      for (const pull of pulling.values()) expectWhole(await pull)
      await expectWell(invariants)
    },
  )

  it.skipIf(isShort)(
    'P2: killed when the blob is in the bucket and its link is not: the next one gets it',
    async () => {
      const [victim, ...others] = fleet.replicas as [Replica, ...Replica[]]
      const invariants = await watch()
      expectWhole(await pullFrom(victim.headwater.host, blobPath()))
      const stored = () => fleet.blobObjects(image.layers[0]!.digest)
      await expect.poll(stored, { timeout: 15_000, interval: 5 }).toHaveLength(1)
      victim.headwater.signal('SIGKILL')
      await victim.headwater.exited
      for (const { headwater } of others) {
        const { status, cut } = await ask(headwater, blobPath())
        expect([status, cut]).toEqual([200, false])
      }
      expect(gets(blobPath().replace('/default/hub', ''))).toBeLessThanOrEqual(2)
      await expectWell(invariants, victim)
    },
  )

  it('P15: miss the same blob at once: one asks the upstream, all have the same bytes', async () => {
    const invariants = await watch()
    const pulls = await Promise.all(
      [...fleet.hosts, ...fleet.hosts, ...fleet.hosts].map((host) => pullFrom(host, blobPath())),
    )
    for (const pull of pulls) expectWhole(pull)
    expect(gets(blobPath().replace('/default/hub', ''))).toBe(1 + (await wentAlone()))
    await expectWell(invariants)
  })

  /** How often a replica asked the upstream by itself, since Redis was too slow for it on a busy machine. */
  async function wentAlone(): Promise<number> {
    const steps = fleet.replicas.flatMap(({ headwater }) =>
      ['goes-alone', 'goes-apart'].map((step) =>
        headwater.metric('headwater_shared_fill_steps_total', { step }),
      ),
    )
    return (await Promise.all(steps)).reduce((sum, count) => sum + count, 0)
  }
})
