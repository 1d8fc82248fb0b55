import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const validitySeconds = 2
/** A machine that is busy with all else may be too slow for what Redis is given: each attempt has an image of its own. */
const attempts = 3
const mediaType = 'application/vnd.oci.image.manifest.v1+json'

interface Told {
  readonly status: number
  readonly digest: string | null
  readonly warning: string | null
}

describeWithParts(['redis-server', 'versitygw'], 'three replicas that are asked the same at once', () => {
  let upstream: FakeUpstream
  let fleet: Fleet
  let images = 0

  beforeAll(async () => {
    upstream = await createFakeUpstream({ auth: { kind: 'token' }, latencyMs: 200 })
    const resources = () => [
      ...upstreamResources('up', { url: upstream.url, validitySeconds }),
      registryResource('hub', ['up']),
    ]
    fleet = await startFleet({ size: 3, upstream: upstream.url, resources })
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })
  beforeEach(() => upstream.heal())

  const push = (repository: string, seed = images) =>
    pushImage(contentStore(upstream.content), repository, {
      tag: 'one',
      layers: [1000],
      seed,
      inMemory: true,
    })

  /** With an image that none of them has met. */
  async function newRepository(): Promise<{ repository: string; digest: string }> {
    images += 1
    const repository = `app-${images}`
    return { repository, digest: (await push(repository)).manifest.digest }
  }

  async function ask(host: string, repository: string, reference: string, method: string): Promise<Told> {
    const response = await fetch(`http://${host}/v2/default/hub/${repository}/manifests/${reference}`, {
      ...{ method, headers: { accept: mediaType } },
    })
    await response.arrayBuffer()
    const { status, headers } = response
    return { status, digest: headers.get('docker-content-digest'), warning: headers.get('warning') }
  }

  /** Ten clients of each replica at once. */
  const askAll = (repository: string, reference = 'one', method = 'GET'): Promise<Told[]> =>
    Promise.all(
      fleet.hosts.flatMap((host) =>
        Array.from({ length: 10 }, () => ask(host, repository, reference, method)),
      ),
    )

  const asked = (method: string, repository: string) =>
    upstream
      .requests({ method, path: `/v2/${repository}/manifests/*` })
      .filter(({ status }) => status !== 401).length
  const exchanges = () => upstream.requests({ path: '/token*' }).length

  /** The counts are as wanted at least once, and whatever else a round expects each time. */
  async function rounds(wanted: readonly number[], round: () => Promise<readonly number[]>): Promise<void> {
    let counts: readonly number[] = []
    for (let attempt = 0; attempt < attempts && counts.join() !== wanted.join(); attempt++) {
      upstream.forgetRequests()
      counts = await round()
    }
    expect(counts).toEqual(wanted)
  }

  /** Cached by all of them, and stale by now; what was asked until then is forgotten. */
  async function staleRepository(change: (repository: string) => Promise<unknown> = async () => {}) {
    const { repository, digest } = await newRepository()
    await askAll(repository)
    await change(repository)
    await sleep(validitySeconds * 1000 + 100)
    upstream.forgetRequests()
    return { repository, digest }
  }

  it('get a cold manifest by one GET and one exchange of tokens for all of them', () =>
    rounds([1, 0, 1], async () => {
      const { repository, digest } = await newRepository()
      const told = await askAll(repository)
      expect(new Set(told.map((one) => `${one.status} ${one.digest}`))).toEqual(new Set([`200 ${digest}`]))
      return [asked('GET', repository), asked('HEAD', repository), exchanges()]
    }))

  it('get what containerd asks, the digest of a cold tag and then the manifest, by one HEAD and one GET', () =>
    rounds([1, 1], async () => {
      const { repository, digest } = await newRepository()
      const heads = await askAll(repository, 'one', 'HEAD')
      expect(new Set(heads.map((one) => one.digest))).toEqual(new Set([digest]))
      expect(new Set((await askAll(repository, digest)).map((one) => one.status))).toEqual(new Set([200]))
      return [asked('HEAD', repository), asked('GET', repository)]
    }))

  it('find by one HEAD that a stale tag is what it was', () =>
    rounds([1, 0], async () => {
      const { repository } = await staleRepository()
      const told = await askAll(repository)
      expect(new Set(told.map((one) => `${one.status} ${one.warning}`))).toEqual(new Set(['200 null']))
      return [asked('HEAD', repository), asked('GET', repository)]
    }))

  it('know from each other that a tag was found unchanged, one after the other', () =>
    rounds([1], async () => {
      const { repository } = await staleRepository()
      for (const host of fleet.hosts) await ask(host, repository, 'one', 'GET')
      return [asked('HEAD', repository)]
    }))

  it('move a tag by one HEAD and one GET', () =>
    rounds([1, 1], async () => {
      let digest: string | undefined
      const { repository } = await staleRepository(async (repository) => {
        digest = (await push(repository, 1000 + images)).manifest.digest
      })
      const told = await askAll(repository)
      const confirmed = told.filter((one) => one.warning === null)
      for (const one of confirmed) expect([one.status, one.digest]).toEqual([200, digest])
      // one that needs a token first may take longer than is waited for
      if (confirmed.length < told.length) return []
      return [asked('HEAD', repository), asked('GET', repository)]
    }))

  it('say by one GET that there is no such tag', () =>
    rounds([1], async () => {
      const { repository } = await newRepository()
      const none = await askAll(repository, 'none')
      expect(new Set(none.map((one) => one.status))).toEqual(new Set([404]))
      return [asked('GET', repository)]
    }))

  it('serve a stale tag of an upstream that asks to be left alone after one HEAD', () =>
    rounds([1], async () => {
      await upstream.heal()
      const { repository } = await staleRepository()
      upstream.always(
        'HEAD',
        `/v2/${repository}/manifests/*`,
        fault.status(429, { headers: { 'retry-after': '2' } }),
      )
      const told = await askAll(repository)
      expect(told.every((one) => one.status === 200 && one.warning !== null)).toBe(true)
      return [asked('HEAD', repository)]
    }))
})
