import { afterEach, beforeEach, expect, it } from 'vitest'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { watchInvariants } from '../../rig/invariants.ts'
import type { ClientPlan } from '../../rig/load/client-process.ts'
import { blobGet, imagePull } from '../../rig/load/plans.ts'
import { repeat, startClients } from '../../rig/load/start-clients.ts'
import { type Probe, startProbing } from '../../rig/probing.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { throttle } from '../../rig/throttle.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const prefix = '/v2/default/hub'
/** As the kubelet has it unless it is told otherwise: so long for a probe, and a restart after so many late ones in a row. */
const timeoutMs = 1_000
const failureThreshold = 3

let upstream: FakeUpstream
let bystander: FakeUpstream
let headwater: Headwater
let hot: SampleImage
let cold: readonly SampleImage[]

beforeEach(async () => {
  upstream = await createFakeUpstream()
  bystander = await createFakeUpstream()
  await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })
  const store = contentStore(upstream.content)
  const push = (repository: string, seed: number) =>
    pushImage(store, repository, { tag: 'v1', layers: [100_000, 4_000_000], seed, inMemory: true })
  hot = await push('hot', 1)
  cold = []
  for (let at = 0; at < (isShort ? 4 : 20); at++) cold = [...cold, await push(`cold-${at}`, 2 + at)]
  await push('later', 99)
  headwater = await startHeadwater({
    resources: [
      ...upstreamResources('up', { url: upstream.url }),
      ...upstreamResources('bystander', { url: bystander.url }),
      registryResource('hub', ['up']),
      registryResource('bystander', ['bystander']),
    ],
  })
})
afterEach(async () => {
  await headwater.close()
  await upstream.close()
  await bystander.close()
})

/** The most late ones in a row. One alone a busy machine may cause. */
function lateInARow(probes: readonly Probe[]): number {
  let most = 0
  let late = 0
  for (const { ms } of probes) {
    late = ms < timeoutMs ? 0 : late + 1
    most = Math.max(most, late)
  }
  return most
}

it('P9: with a tenth of a core its probes are answered in time; pulls are slow, and nothing is shed', async () => {
  const clients = startClients()
  const invariants = await watchInvariants(headwater, {
    watched: () => [{ upstream }, { upstream: bystander }],
    bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
  })
  await clients.pull(headwater.url, [imagePull(prefix, hot)])
  invariants.begin()
  const before = upstream.requests().length
  const plans: readonly ClientPlan[] = [
    ...repeat(20, () => ({
      rest: repeat(isShort ? 10 : 60, () => blobGet(prefix, 'hot', hot.layers[0]!, { hash: true })),
      lanes: 1,
    })),
    ...cold.flatMap((image) => repeat(3, () => imagePull(prefix, image, { hash: true }))),
  ]
  const throttled = throttle(headwater)
  const probing = startProbing(headwater)
  await clients.pull(headwater.url, plans)
  const probes = await probing.end()
  await throttled.end()

  expect(probes.filter(({ status }) => status !== 200)).toEqual([])
  for (const path of ['/livez', '/readyz'])
    expect(lateInARow(probes.filter((one) => one.path === path))).toBeLessThan(failureThreshold)
  expect(upstream.requests().length - before).toBeLessThanOrEqual(4 * cold.length)
  invariants.begin() // a neighbour in the same process is as slow as everybody, while that lasts
  await invariants.expect({
    upstreams: [upstream],
    requestsAtMost: 0,
    repository: 'hot',
    digests: [hot.manifest.digest, hot.layers[0]!.digest],
    cold: `${prefix}/later/manifests/v1`,
  })
  await invariants.stop()
  await clients.close()
})
