import { expect } from 'vitest'
import { type Asked, ask } from '../../rig/asking.ts'
import { createFakeUpstream, type FakeUpstream, type FakeUpstreamOptions } from '../../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import {
  type Aftermath,
  type Invariants,
  type WatchedUpstream,
  watchInvariants,
} from '../../rig/invariants.ts'
import {
  type Resource,
  registryResource,
  type UpstreamOptions,
  upstreamResources,
} from '../../rig/resources.ts'

/** What the upstream of one row is like before anything befalls it. */
export interface StageOptions {
  readonly upstream?: FakeUpstreamOptions
  readonly resource?: Omit<UpstreamOptions, 'url'>
  /** Of each image. */
  readonly layers?: readonly number[]
}

/**
 * One row's own upstream, called `name`, and three registries over it: where its tags are fresh for a day, where they are
 * always stale, and that again with the bait below: another upstream, which has other images under the same names.
 */
export interface Stage {
  readonly name: string
  readonly upstream: FakeUpstream
  /** `app:v1`, pulled through all registries before. */
  readonly cached: SampleImage
  /** `app:cold`, not pulled yet. */
  readonly cold: SampleImage
  /** `app:later`, for when the fault is over. */
  readonly later: SampleImage
  fresh(path: string): Promise<Asked>
  stale(path: string): Promise<Asked>
  /** Over the upstream, tags stale, and the bait. */
  both(path: string): Promise<Asked>
  head(path: string): Promise<Asked>
  /** Requests at the upstream since the fault began. */
  seen(): string[]
}

export interface Scene {
  readonly headwater: Headwater
  readonly bait: FakeUpstream
  /** `app:cold` of the bait. */
  readonly substitute: SampleImage
  /** `app:other`, which only the bait has. */
  readonly elsewhere: SampleImage
  readonly invariants: Invariants
  stage(name: string): Stage
  /** The row's fault begins. */
  begin(name: string): Promise<Stage>
  /** Heals the row's upstream and checks I1 to I9. */
  expectInvariants(
    name: string,
    limits?: Partial<Pick<Aftermath, 'requestsAtMost' | 'heal' | 'fillsBeside'>>,
  ): Promise<void>
  /** Once all is over, these rows' tags are confirmed again, with no hand. */
  expectConfirmed(names: readonly string[]): Promise<void>
  close(): Promise<void>
}

/** One process that serves the stages of many rows, and a bystander. */
export async function createScene(
  rows: ReadonlyMap<string, StageOptions>,
  {
    watched = [],
    resources = [],
    args = [],
  }: {
    watched?: readonly WatchedUpstream[]
    resources?: readonly Resource[]
    args?: readonly string[]
  } = {},
): Promise<Scene> {
  const bait = await createFakeUpstream()
  const bystander = await createFakeUpstream()
  const substitute = await pushImage(contentStore(bait.content), 'app', { tag: 'cold', seed: 90 })
  const elsewhere = await pushImage(contentStore(bait.content), 'app', { tag: 'other', seed: 91 })
  for (const tag of ['v1', 'later']) await pushImage(contentStore(bait.content), 'app', { tag, seed: 92 })
  await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })

  const made = new Map<string, Omit<Stage, 'fresh' | 'stale' | 'both' | 'head' | 'seen'>>()
  for (const [name, { upstream: options, layers = [1000, 300_000] }] of rows) {
    const upstream = await createFakeUpstream(options)
    const store = contentStore(upstream.content)
    const image = (tag: string, seed: number) =>
      pushImage(store, 'app', { tag, seed, layers, inMemory: true })
    const [cached, cold, later] = [await image('v1', 1), await image('cold', 2), await image('later', 3)]
    made.set(name, { name, upstream, cached, cold, later })
  }
  const headwater = await startHeadwater({
    args,
    resources: [
      ...upstreamResources('bait', { url: bait.url }),
      ...upstreamResources('bystander', { url: bystander.url }),
      registryResource('bystander', ['bystander']),
      ...[...made].flatMap(([name, { upstream }]) =>
        resourcesOf(name, upstream.url, rows.get(name)?.resource),
      ),
      ...resources,
    ],
  })
  const begun = new Map<string, number>()
  const stages = new Map(
    [...made].map(([name, parts]) => {
      const through =
        (registry: string, method = 'GET') =>
        (path: string) =>
          ask(headwater, `/v2/default/${name}-${registry}/app/${path}`, { method })
      const stage: Stage = {
        ...parts,
        fresh: through('fresh'),
        stale: through('stale'),
        both: through('both'),
        head: through('stale', 'HEAD'),
        seen: () =>
          parts.upstream
            .requests()
            .slice(begun.get(name))
            .map(({ method, url, status }) => `${method} ${url} ${status}`),
      }
      return [name, stage] as const
    }),
  )
  await Promise.all([...stages.values()].map(pullAll))
  const invariants = await watchInvariants(headwater, {
    watched: () => [...[...stages.values(), { upstream: bait }, { upstream: bystander }], ...watched],
    bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
  })
  const stage = (name: string): Stage => stages.get(name)!

  return {
    ...{ headwater, bait, substitute, elsewhere, invariants, stage },
    async begin(name) {
      invariants.begin()
      begun.set(name, stage(name).upstream.requests().length)
      return stage(name)
    },
    async expectInvariants(name, { requestsAtMost = 30, ...limits } = {}) {
      const { upstream, cached, cold } = stage(name)
      await invariants.expect({
        upstreams: [upstream],
        requestsAtMost,
        repository: 'app',
        digests: [cached, cold].flatMap(({ manifest, layers }) => [
          manifest.digest,
          layers[1]?.digest ?? manifest.digest,
        ]),
        ...limits,
        cold: `/v2/default/${name}-both/app/manifests/later`,
      })
    },
    async expectConfirmed(names) {
      const warnings = async () => {
        const answers = await Promise.all(names.map((name) => stage(name).stale('manifests/v1')))
        return answers.map(({ headers }) => headers.warning).filter((warning) => warning !== undefined)
      }
      await expect.poll(warnings, { timeout: 35_000, interval: 200 }).toEqual([])
    },
    async close() {
      await invariants.stop()
      await headwater.close()
      for (const { upstream } of [...stages.values(), { upstream: bait }, { upstream: bystander }])
        await upstream.close()
    },
  }
}

function resourcesOf(name: string, url: string, options: Omit<UpstreamOptions, 'url'> = {}): Resource[] {
  return [
    ...upstreamResources(`${name}-day`, { url, ...options }),
    ...upstreamResources(`${name}-always`, { url, policy: 'Always', ...options }),
    registryResource(`${name}-fresh`, [`${name}-day`]),
    registryResource(`${name}-stale`, [`${name}-always`]),
    registryResource(`${name}-both`, [`${name}-always`, 'bait']),
  ]
}

async function pullAll({ name, cached, fresh, stale, both }: Stage): Promise<void> {
  const blobs = [cached.config, ...cached.layers].map(({ digest }) => `blobs/${digest}`)
  for (const path of ['manifests/v1', ...blobs]) {
    for (const pull of [fresh, stale, both]) {
      expect((await pull(path)).status, `${name} ${path} before the fault`).toBe(200)
    }
  }
}
