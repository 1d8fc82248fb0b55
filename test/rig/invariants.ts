import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { Digest } from '../../proxy/oci/digest.ts'
import { openLocalStoresToRead } from '../../proxy/store/local-stores.ts'
import { scrub } from '../../proxy/store/scrub.ts'
import { ask, medianOf } from './asking.ts'
import { canary, expectNoSecrets } from './canary.ts'
import type { FakeUpstream } from './fake-upstream.ts'
import { type Headwater, returnsTo } from './headwater.ts'

/** Whose secrets an upstream may be sent beside its own: a token service those of its registry. */
export interface WatchedUpstream {
  readonly upstream: FakeUpstream
  readonly alsoOf?: readonly FakeUpstream[]
}

/** A registry over an upstream of its own that has nothing to do with what goes wrong. */
export interface Bystander {
  /** `/v2/default/bystander` */
  readonly path: string
  /** What it has cached: a manifest's path below that. */
  readonly cached: string
}

export interface Aftermath {
  readonly upstreams: readonly FakeUpstream[]
  /** How many requests each of them may have had since `begin`. */
  readonly requestsAtMost: number
  /** Content of theirs, by `repository`, that the bystander must not be able to get. */
  readonly repository: string
  readonly digests: readonly Digest[]
  /** Fills of somebody else's that may go on all the while. */
  readonly fillsBeside?: number
  /** Ends the fault, beyond healing the upstreams. */
  readonly heal?: () => unknown
  /** A path that was not pulled yet and must work at once after that. */
  readonly cold: string
  /** A tag that is always stale: confirmed again once its back-off is over. */
  readonly stale?: string
}

export interface Invariants {
  /** The fault begins: counts start here. */
  begin(): void
  /** I1 of the blobs that are new, and I3 to I9, on the running process. Single answers are held to I2, I4 and I7 by `ask`. */
  expect(aftermath: Aftermath): Promise<void>
  /** The end, with I1 of all there is. */
  stop(): Promise<void>
}

/** Where a replica that shares its stores keeps what; without it all is in its own folder. */
export interface SharedKeeping {
  /** Where blobs are on its disk, within its folder. */
  readonly blobs: string
  /** I1 of what is shared. */
  scrub(): Promise<void> | void
  /** Connections that stores and other replicas may leave open beside those of the beginning. */
  readonly connections: number
}

/** More descriptors than at the beginning that mean nothing: connections of the test's own to metrics. */
const descriptorSlack = 4

/** Watches a running process from a quiet moment on: what is open now is its base line, and how fast the bystander answers. */
export async function watchInvariants(
  headwater: Headwater,
  {
    watched,
    bystander,
    shared,
  }: {
    watched: () => readonly WatchedUpstream[]
    bystander: Bystander
    shared?: SharedKeeping
  },
): Promise<Invariants> {
  const slack = descriptorSlack + (shared?.connections ?? 0)
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const lookAtBystander = async () => {
    const { status, ms } = await ask(headwater, `${bystander.path}/${bystander.cached}`, { agent })
    if (status !== 200) throw new Error(`I9: the bystander got ${status}`)
    return ms
  }
  for (let round = 0; round < 20; round++) await lookAtBystander()
  const calm: number[] = []
  for (let round = 0; round < 40; round++) calm.push(await lookAtBystander())

  const upstreamConnections = () =>
    watched().reduce((sum, { upstream }) => sum + upstream.connections().open, 0)
  const descriptors = async () => (await headwater.openDescriptors()) - upstreamConnections()
  await headwater.metrics()
  const baseline = await descriptors()

  let samples: number[] = []
  let failure: unknown
  let watching = true
  const sampling = (async () => {
    while (watching) {
      try {
        samples.push(await lookAtBystander())
      } catch (error) {
        failure ??= error
        return
      }
      await sleep(20)
    }
  })()
  const hashed = new Set<string>()
  let counts = new Map<FakeUpstream, number>()

  function expectFewRequests(upstreams: readonly FakeUpstream[], most: number): void {
    for (const upstream of upstreams) {
      const requests = upstream.requests().slice(counts.get(upstream))
      const shown = requests.map(({ method, path, status }) => `${method} ${path} ${status}`).join('\n')
      expect(requests.length, `I8: more requests than may be:\n${shown}`).toBeLessThanOrEqual(most)
    }
  }

  async function expectInvariants(aftermath: Aftermath): Promise<void> {
    const { upstreams, requestsAtMost, repository, digests, heal, cold, stale, fillsBeside = 0 } = aftermath
    expectFewRequests(upstreams, requestsAtMost)
    for (const digest of digests) {
      for (const kind of ['manifests', 'blobs']) {
        const { status } = await ask(headwater, `${bystander.path}/${repository}/${kind}/${digest}`)
        expect(status, `I3: ${kind}/${digest} through a registry without a link`).toBe(404)
      }
    }
    while (samples.length < 5 && failure === undefined) await sleep(20)
    if (failure !== undefined) throw failure
    const limit = Math.max(250, 20 * medianOf(calm))
    const during = medianOf(samples)
    expect(during, 'I9: median of the bystander in milliseconds').toBeLessThan(limit)

    for (const upstream of upstreams) await upstream.heal()
    await heal?.()
    expect((await ask(headwater, cold)).status, `I6: ${cold} after the fault`).toBe(200)
    if (stale !== undefined) await expectConfirmed(stale)

    await expectNewBlobsHash(join(headwater.data, shared?.blobs ?? 'blobs'), hashed)
    expectOwnSecrets(watched())
    expectNoSecrets(headwater.log())
    await returnsTo(fillsBeside, () => headwater.metric('headwater_fills_in_progress'))
    await returnsTo(fillsBeside, async () => (await headwater.temporaryFiles()).length)
    await returnsTo(baseline + slack + 3 * fillsBeside, descriptors)
  }

  async function expectConfirmed(path: string): Promise<void> {
    const answered = async () => {
      const { status, headers } = await ask(headwater, path)
      return `${status} ${headers.warning ?? 'confirmed'}`
    }
    await expect.poll(answered, { timeout: 35_000, interval: 100, message: 'I6' }).toBe('200 confirmed')
  }

  return {
    begin() {
      samples = []
      counts = new Map(watched().map(({ upstream }) => [upstream, upstream.requests().length]))
    },
    expect: expectInvariants,
    async stop() {
      watching = false
      await sampling
      agent.destroy()
      await (shared ? shared.scrub() : expectScrubbed(headwater.data))
    },
  }
}

async function expectNewBlobsHash(folder: string, hashed: Set<string>): Promise<void> {
  const files = await readdir(folder, { recursive: true })
  for (const file of files) {
    const [, algorithm, hex] = /^(sha256|sha512)\/..\/([a-f0-9]+)$/.exec(file) ?? []
    if (algorithm === undefined || hashed.has(file)) continue
    const bytes = await readFile(join(folder, file)).catch(() => undefined)
    if (bytes === undefined) continue
    hashed.add(file)
    expect(createHash(algorithm).update(bytes).digest('hex'), 'I1').toBe(hex)
  }
}

/** I1: every stored blob hashes to its name, and nothing refers to what is not there. Also beside the running process. */
export async function expectScrubbed(data: string): Promise<void> {
  const stores = await openLocalStoresToRead(data)
  try {
    const { findings } = await scrub(stores, { hash: true })
    expect(findings, 'I1').toEqual([])
  } finally {
    await stores.close()
  }
}

/** I4: no upstream was sent a secret that is not its own. */
export function expectOwnSecrets(watched: readonly WatchedUpstream[]): void {
  const secret = new RegExp(`${canary}[\\w-]+`, 'g')
  for (const { upstream, alsoOf = [] } of watched) {
    const own = new Set([upstream, ...alsoOf].flatMap(({ auth, issued }) => [auth.password, ...issued()]))
    for (const { method, url, headers } of upstream.requests()) {
      const sent = `${decodeURIComponent(url)}\n${Object.values(headers).map(readable).join('\n')}`
      const strange = [...sent.matchAll(secret)].filter(([found]) => !own.has(found))
      expect(strange.map(String), `I4: ${method} ${url} to ${upstream.host}`).toEqual([])
    }
  }
}

function readable(value: string | string[] | undefined): string {
  const [, basic] = /^basic (.+)$/i.exec(String(value)) ?? []
  return basic === undefined ? String(value) : Buffer.from(basic, 'base64').toString()
}
