import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { pullFrom, startLoad } from '../../rig/fleet-clients.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { watchFleet } from '../../rig/watch-fleet.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const replicas = isShort ? 3 : 6
const repositories = isShort ? 6 : 20
const clients = 12
/** After the restart. */
const answers = isShort ? 200 : 1_000

describeWithParts(['redis-server', 'versitygw'], 'a fleet under load', () => {
  let upstream: FakeUpstream
  let bystander: FakeUpstream
  let fleet: Fleet
  const images: SampleImage[] = []

  beforeAll(async () => {
    upstream = await createFakeUpstream()
    bystander = await createFakeUpstream()
    await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })
    const store = contentStore(upstream.content)
    for (let at = 0; at < repositories; at++) {
      const layers = [2_000_000, 50_000]
      images.push(await pushImage(store, `app-${at}`, { tag: 'v1', layers, seed: at + 1, inMemory: true }))
    }
    await pushImage(store, 'later', { tag: 'v1', seed: 99, inMemory: true })
    const resources = () => [
      ...upstreamResources('up', { url: upstream.url }),
      ...upstreamResources('bystander', { url: bystander.url }),
      registryResource('hub', ['up']),
      registryResource('bystander', ['bystander']),
    ]
    fleet = await startFleet({ size: replicas, upstream: upstream.url, resources })
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
    await bystander?.close()
  })

  const pathsOf = ({ repository, manifest, config, layers }: SampleImage) => [
    [`/v2/default/hub/${repository}/manifests/v1`, manifest.digest],
    ...[config, ...layers].map(({ digest }) => [`/v2/default/hub/${repository}/blobs/${digest}`, digest]),
  ]
  const everything = () => images.flatMap(pathsOf) as [string, string][]

  /** One after another, as a client that begins somewhere else than the next. */
  function* turns(first: number): Generator<[string, string]> {
    const all = everything()
    for (let at = first; ; at++) yield all[at % all.length]!
  }

  async function pullAll(host: string, image: SampleImage): Promise<void> {
    for (const [path, digest] of pathsOf(image))
      expect(await pullFrom(host, path!)).toMatchObject({ status: 200, digest })
  }

  async function expectStored({ layers }: SampleImage): Promise<void> {
    for (const { digest } of layers)
      await expect.poll(() => fleet.blobObjects(digest), { timeout: 10_000 }).toHaveLength(1)
  }

  it('P14: all restart at once, with empty disks: all comes from Redis and the bucket, nothing from upstream', async () => {
    const [first] = fleet.hosts as [string]
    for (const image of images) await pullAll(first, image)
    expect((await pullFrom(first, '/v2/default/bystander/calm/manifests/v1')).status).toBe(200)
    for (const image of images) await expectStored(image)
    await sleep(500) // links are written behind the answers

    const load = startLoad(
      Array.from({ length: clients }, (_, client) => {
        const turn = turns(client * 7)
        return () => pullFrom(fleet.balancer, turn.next().value![0])
      }),
    )
    await sleep(1_000)
    upstream.forgetRequests()
    await Promise.all(fleet.replicas.map((one) => fleet.replace(one)))
    const up = load.done.length
    await expect.poll(() => load.done.length - up, { timeout: 120_000 }).toBeGreaterThan(answers + clients)
    const done = await load.stop()
    // balancer and clients may still find one that is gone, just after
    const later = done.slice(up + clients)
    expect(later.filter(({ status, error }) => status !== 200 || error !== undefined)).toEqual([])
    const right = new Set(everything().map(([, digest]) => digest))
    expect(later.filter(({ digest }) => !right.has(digest))).toEqual([])
    // none, unless Redis and S3 both were too slow for who asked them on a busy machine
    expect(upstream.requests().length).toBeLessThanOrEqual(later.length / 100)
    for (const { ways } of fleet.replicas) expect(ways.s3.accepted()).toBeGreaterThan(0)

    const invariants = await watchFleet(fleet, [upstream, bystander])
    invariants.begin()
    for (const host of fleet.hosts) await pullAll(host, images[0]!)
    await invariants.expect({
      upstreams: [upstream],
      requestsAtMost: 10 * replicas,
      repository: 'app-0',
      digests: [images[0]!.manifest.digest],
      cold: '/v2/default/hub/later/manifests/v1',
    })
    await invariants.stop()
  })
})
