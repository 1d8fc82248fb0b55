import { Agent } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Asked, ask, medianOf } from '../../rig/asking.ts'
import { createFreezingPort, type FreezingPort } from '../../rig/blackhole.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import {
  pushArtifact,
  pushImage,
  pushIndex,
  type SampleArtifact,
  type SampleImage,
  type SampleIndex,
} from '../../rig/images.ts'
import { type Invariants, watchInvariants } from '../../rig/invariants.ts'
import { type Resource, registryResource, upstreamResources } from '../../rig/resources.ts'

/** How everything behind a registry fails at once, and whether its answers are trouble or a no. */
interface Outage {
  readonly name: string
  readonly begin: (upstream: FakeUpstream, port: FreezingPort) => unknown
  readonly says: 'trouble' | 'no'
}

const always = (one: ReturnType<typeof fault.hang>) => (upstream: FakeUpstream) => {
  upstream.always('*', /./, one)
}
const outages: readonly Outage[] = [
  { name: 'U1: is stopped', begin: (upstream) => upstream.stop(), says: 'trouble' },
  { name: 'U2: is a black hole', begin: (_upstream, port) => port.freeze(), says: 'trouble' },
  { name: 'U3: hangs', begin: always(fault.hang()), says: 'trouble' },
  { name: 'U22: answers 401', begin: always(fault.status(401)), says: 'no' },
  { name: 'U26: answers 403', begin: always(fault.status(403)), says: 'no' },
  { name: 'U28: answers 404', begin: always(fault.status(404)), says: 'no' },
  { name: 'U29: answers 429', begin: always(fault.tooManyRequests()), says: 'trouble' },
  { name: 'U4: answers 500', begin: always(fault.status(500)), says: 'trouble' },
  { name: 'U4: answers 503', begin: always(fault.status(503)), says: 'trouble' },
  { name: 'U37: answers nonsense', begin: always(fault.raw('SSH-2.0-OpenSSH_9\r\n')), says: 'trouble' },
  { name: 'U20: answers a web page', begin: always(fault.body('<html>', 'text/html')), says: 'trouble' },
]

/** What one outage has to itself: an upstream with its images, and registries over it. */
interface Stage {
  readonly key: string
  readonly upstream: FakeUpstream
  readonly port: FreezingPort
  readonly image: SampleImage
  readonly index: SampleIndex
  readonly artifact: SampleArtifact
  /** Never pulled during the outage. */
  readonly later: SampleImage
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 })
const stages = new Map<string, Stage>()
let second: FakeUpstream
let bystander: FakeUpstream
let headwater: Headwater
let invariants: Invariants
let substitute: SampleImage
let onlyInSecond: SampleImage

beforeAll(async () => {
  second = await createFakeUpstream()
  bystander = await createFakeUpstream()
  substitute = await pushImage(contentStore(second.content), 'app', { tag: 'cold', seed: 70 })
  onlyInSecond = await pushImage(contentStore(second.content), 'app', { tag: 'other', seed: 71 })
  await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 72 })
  for (const [number, { name }] of outages.entries()) stages.set(name, await createStage(`o${number}`))

  headwater = await startHeadwater({
    resources: [
      ...upstreamResources('second', { url: second.url }),
      ...upstreamResources('bystander', { url: bystander.url }),
      registryResource('bystander', ['bystander']),
      ...[...stages.values()].flatMap(resourcesOf),
    ],
  })
  for (const stage of stages.values()) {
    for (const path of cachedPaths(stage)) expect((await ask(headwater, path)).status, path).toBe(200)
    for (const path of freshPaths(stage)) expect((await ask(headwater, path)).status, path).toBe(200)
  }
  invariants = await watchInvariants(headwater, {
    watched: () => [...stages.values(), { upstream: second }, { upstream: bystander }],
    bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
  })
})

afterAll(async () => {
  agent.destroy()
  await invariants?.stop()
  await headwater?.close()
  for (const { upstream, port } of stages.values()) {
    await port.close()
    await upstream.close()
  }
  await Promise.all([second.close(), bystander.close()])
})

async function createStage(key: string): Promise<Stage> {
  const upstream = await createFakeUpstream()
  const store = contentStore(upstream.content)
  const stage = {
    key,
    upstream,
    port: await createFreezingPort(upstream.port),
    image: await pushImage(store, 'app', { tag: 'v1', layers: [1000, 300_000], seed: 1 }),
    index: await pushIndex(store, 'app', { tag: 'multi', seed: 10 }),
    artifact: await pushArtifact(store, 'app', { tag: 'signed', byTagSchema: false }),
    later: await pushImage(store, 'app', { tag: 'later', seed: 20 }),
  }
  await pushImage(store, 'app', { tag: 'cold', seed: 30 })
  return stage
}

/** Always stale and for a day fresh; with a second upstream below, which ends the walk by tag or goes on. */
function resourcesOf({ key, port: { url } }: Stage): Resource[] {
  const ignoring = { upstreamRef: { name: `${key}-stale` }, failurePolicy: 'Ignore' }
  return [
    ...upstreamResources(`${key}-stale`, { url, policy: 'Always' }),
    ...upstreamResources(`${key}-fresh`, { url }),
    registryResource(`${key}`, [`${key}-stale`, 'second']),
    registryResource(`${key}-ignore`, [ignoring, 'second']),
    registryResource(`${key}-fresh`, [`${key}-fresh`]),
  ]
}

function imagePaths({ manifest, config, layers }: SampleImage): string[] {
  return [`manifests/${manifest.digest}`, ...[config, ...layers].flatMap(({ digest }) => `blobs/${digest}`)]
}

function cachedPaths({ key, image, index, artifact }: Stage): string[] {
  const subject = artifact.subject.manifest.digest
  const paths = [
    ...['manifests/v1', 'manifests/multi', 'manifests/signed', `referrers/${subject}`],
    `manifests/${index.index.digest}`,
    ...[image, ...index.images, artifact.subject].flatMap(imagePaths),
    ...artifact.referrers.map(({ digest }) => `manifests/${digest}`),
  ]
  return paths.map((path) => `/v2/default/${key}/app/${path}`)
}

/** What is fresh all the while: hits. */
function freshPaths({ key, artifact }: Stage): [manifest: string, referrers: string] {
  const subject = artifact.subject.manifest.digest
  return [`/v2/default/${key}-fresh/app/manifests/v1`, `/v2/default/${key}-fresh/app/referrers/${subject}`]
}

describe.each(outages)('while its upstream $name', ({ name, begin, says }) => {
  let stage: Stage
  const at = (path: string) => `/v2/default/${stage.key}/app/${path}`
  const requests = () => stage.upstream.requests().length

  beforeAll(async () => {
    stage = stages.get(name)!
    invariants.begin()
    await begin(stage.upstream, stage.port)
  })

  it('everything cached still pulls, the first answer within 3 s', async () => {
    const before = requests()
    const fresh = await ask(headwater, `/v2/default/${stage.key}-fresh/app/manifests/v1`)
    expect(fresh.status).toBe(200)
    expect(fresh.headers.warning).toBeUndefined()
    expect(requests()).toBe(before)
    for (const path of cachedPaths(stage)) {
      const { status, ms, headers } = await ask(headwater, path)
      expect({ path, status }).toEqual({ path, status: 200 })
      expect(ms, path).toBeLessThan(3_000)
      const isChecked = /manifests\/[a-z0-9]+$|referrers/.test(path)
      expect(headers.warning?.includes('cached content') ?? false, path).toBe(isChecked)
    }
  })

  it('later answers take no longer than one and a half times a hit', async () => {
    const [manifest, referrers] = freshPaths(stage)
    const ofManifests = await ratioOf(
      () => askKept(at('manifests/v1')),
      () => askKept(manifest),
    )
    const ofReferrers = await ratioOf(
      () => askKept(at(`referrers/${stage.artifact.subject.manifest.digest}`)),
      () => askKept(referrers),
    )
    expect(ofManifests).toBeLessThan(1.5)
    expect(ofReferrers).toBeLessThan(1.5)
  })

  it('what is not cached is not the lower upstream’s by tag unless it says no or is to be ignored; by digest it is', async () => {
    const ignoring = `/v2/default/${stage.key}-ignore/app/manifests/cold`
    const [cold, ignored] = await Promise.all([
      ask(headwater, at('manifests/cold')),
      ask(headwater, ignoring),
    ])
    if (says === 'no') expect(cold.headers['docker-content-digest']).toBe(substitute.manifest.digest)
    else expect([429, 502, 503]).toContain(cold.status)
    expect(ignored.headers['docker-content-digest']).toBe(substitute.manifest.digest)
    for (const path of imagePaths(onlyInSecond)) expect((await ask(headwater, at(path))).status).toBe(200)
  })

  it('leaves the invariants intact', async () => {
    const { upstream, port, image, later } = stage
    await invariants.expect({
      upstreams: [upstream],
      requestsAtMost: 60,
      repository: 'app',
      digests: [image.manifest.digest, image.layers[1]!.digest, later.manifest.digest],
      heal: () => port.thaw(),
      cold: at('manifests/later'),
    })
  })
})

async function askKept(path: string): Promise<Asked> {
  const answer = await ask(headwater, path, { agent })
  expect(answer.status).toBe(200)
  return answer
}

/** Of the medians of two hundred each, interleaved. */
async function ratioOf(one: () => Promise<Asked>, other: () => Promise<Asked>): Promise<number> {
  const times: [number[], number[]] = [[], []]
  for (let round = 0; round < 200; round++) {
    times[0].push((await one()).ms)
    times[1].push((await other()).ms)
  }
  return medianOf(times[0]) / medianOf(times[1])
}

it('is over, and every tag is confirmed again with no hand', async () => {
  const warnings = async () => {
    const paths = [...stages.values()].map(({ key }) => `/v2/default/${key}/app/manifests/v1`)
    const answers = await Promise.all(paths.map((path) => ask(headwater, path)))
    return answers.map(({ headers }) => headers.warning).filter((warning) => warning !== undefined)
  }
  await expect.poll(warnings, { timeout: 35_000, interval: 200 }).toEqual([])
})

describe('a second pull', () => {
  it('inside the validity makes no upstream request; after it one HEAD for any number at once', async () => {
    const upstream = await createFakeUpstream({ latencyMs: 50 })
    const { manifest, layers } = await pushImage(contentStore(upstream.content), 'app', {
      tag: 'v1',
      seed: 80,
    })
    const own = await startHeadwater({
      resources: [
        ...upstreamResources('up', { url: upstream.url, validitySeconds: 2 }),
        registryResource('hub', ['up']),
      ],
    })
    const paths = ['manifests/v1', `manifests/${manifest.digest}`, `blobs/${layers[0]!.digest}`]
    const pullAll = () => Promise.all(paths.map((path) => ask(own, `/v2/default/hub/app/${path}`)))
    await pullAll()
    const before = upstream.requests().length
    for (const { status } of await pullAll()) expect(status).toBe(200)
    expect(upstream.requests()).toHaveLength(before)

    await new Promise((resolve) => setTimeout(resolve, 2_100))
    const pulls = await Promise.all(
      Array.from({ length: 200 }, () => ask(own, '/v2/default/hub/app/manifests/v1')),
    )
    expect(new Set(pulls.map(({ status, headers }) => `${status} ${headers.warning}`))).toEqual(
      new Set(['200 undefined']),
    )
    expect(
      upstream
        .requests()
        .slice(before)
        .map(({ method }) => method),
    ).toEqual(['HEAD'])
    expect(await own.stop()).toBe(0)
    await own.close()
    await upstream.close()
  })
})
