import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { StoreUnavailableError } from '../../../proxy/store/breaker.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, pushIndex } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let hub: FakeUpstream
let other: FakeUpstream
let rig: PullRig

beforeEach(async () => {
  hub = await createFakeUpstream()
  other = await createFakeUpstream()
  rig = await createPullRig(
    [
      { name: 'hub', at: hub },
      { name: 'hub-again', at: hub, credentials: { username: 'robot', password: 'canary-password' } },
      { name: 'other', at: other },
    ],
    [
      { name: 'main', upstreams: ['hub', 'other'] },
      { name: 'same-origin', upstreams: ['hub-again'] },
      { name: 'tenant', upstreams: ['other'] },
    ],
  )
})

afterEach(async () => {
  await rig.close()
  await hub.close()
  await other.close()
})

function blobGets(upstream: FakeUpstream): number {
  return upstream.requests({ method: 'GET', path: /\/blobs\// }).length
}

describe('a manifest by digest', () => {
  it('never goes stale and is asked for once', async () => {
    const { manifest } = await pushImage(contentStore(hub.content), 'app')
    await rig.manifest('app', manifest.digest)
    rig.advance(1e7)
    await hub.stop()
    expect((await rig.manifest('app', manifest.digest)).story.outcome).toBe('hit')
  })

  it('goes on past an upstream in trouble, since nobody can substitute it', async () => {
    const { manifest } = await pushImage(contentStore(other.content), 'app')
    hub.always('*', '/v2/app/*', fault.status(500))
    expect((await rig.manifest('app', manifest.digest)).story.upstream).toBe('default/other')
  })

  it('U15: U17: is refused when its bytes are others, whatever its header says', async () => {
    const { manifest } = await pushImage(contentStore(hub.content), 'app')
    hub.always('GET', '/v2/app/manifests/*', fault.corrupt(-10))
    await expect(rig.manifest('app', manifest.digest)).rejects.toMatchObject({ status: 502 })
    expect(rig.observed.digestMismatches).toBe(1)
    await hub.heal()
    hub.always('GET', '/v2/app/manifests/*', fault.digestHeader(`sha256:${'0'.repeat(64)}`))
    expect((await rig.manifest('app', manifest.digest)).digest).toBe(manifest.digest)
  })

  it('is held by its sha512 where that is asked for', async () => {
    const { manifest } = await pushImage(contentStore(hub.content), 'app', { algorithm: 'sha512', tag: 'v1' })
    expect(manifest.digest).toMatch(/^sha512:/)
    const byTag = await rig.manifest('app', 'v1')
    const byDigest = await rig.manifest('app', manifest.digest)
    expect(byTag.digest).toBe(manifest.digest)
    expect(digestOf(byDigest.bytes!, 'sha512')).toBe(manifest.digest)
  })

  it('is asked first where a cached index lists it', async () => {
    const { images } = await pushIndex(contentStore(other.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    hub.forgetRequests()
    await rig.manifest('app', images[0]!.manifest.digest)
    expect(hub.requests()).toHaveLength(0)
  })

  it('is looked at by HEAD with HEADs alone', async () => {
    const { manifest } = await pushImage(contentStore(other.content), 'app')
    expect(await rig.manifest('app', manifest.digest, { method: 'HEAD' })).toMatchObject(manifest)
    expect([...hub.requests(), ...other.requests()].map(({ method }) => method)).toEqual(['HEAD', 'HEAD'])
  })
})

it('U7: a manifest that is asked for is not refused on the word of a HEAD, though its bytes are here', async () => {
  const { manifest } = await pushImage(contentStore(hub.content), 'app')
  await rig.manifest('app', manifest.digest)
  hub.always('HEAD', '/v2/app/manifests/*', fault.status(404))
  const answer = await rig.manifest('app', manifest.digest, { registry: 'same-origin' })
  expect(answer.digest).toBe(manifest.digest)
})

describe('a blob', () => {
  it('comes in once and is served from the store then, with the upstream gone', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [3_000_000] })
    const { digest } = layers[0]!
    const pulls = await Promise.all(Array.from({ length: 30 }, () => rig.bytes('app', digest)))
    for (const bytes of pulls) expect(digestOf(bytes)).toBe(digest)
    expect(blobGets(hub)).toBe(1)
    await rig.restart()
    await hub.stop()
    expect(digestOf(await rig.bytes('app', digest))).toBe(digest)
  })

  it('U43: is unknown when the upstream has lost it, and its neighbours still come', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { tag: 'v1', layers: [1000, 2000] })
    await rig.manifest('app', 'v1')
    hub.content.remove('app', layers[0]!.digest)
    await expect(rig.blob('app', layers[0]!.digest)).rejects.toMatchObject({ key: 'BLOB_UNKNOWN' })
    expect(digestOf(await rig.bytes('app', layers[1]!.digest))).toBe(layers[1]!.digest)
  })

  it('B44: is not a manifest by another name', async () => {
    const { manifest } = await pushImage(contentStore(hub.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    await expect(rig.blob('app', manifest.digest)).rejects.toMatchObject({ key: 'BLOB_UNKNOWN' })
  })

  it('is what its digest says, whatever size a manifest says it has', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { tag: 'v1', layers: [5000] })
    const [layer] = layers
    hub.content.putManifest('app', { schemaVersion: 2, layers: [{ ...layer, size: 7 }] }, { tag: 'wrong' })
    await rig.manifest('app', 'wrong')
    expect(digestOf(await rig.bytes('app', layer!.digest))).toBe(layer!.digest)
  })

  it('is refused when it is of another size than its manifest says because it is something else', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { tag: 'v1', layers: [5000] })
    await rig.manifest('app', 'v1')
    hub.always('GET', '/v2/app/blobs/*', fault.body('something else'))
    await expect(rig.bytes('app', layers[0]!.digest)).rejects.toMatchObject({ kind: 'invalid-response' })
  })

  it('is looked at by HEAD without a fill', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [5000] })
    const head = await rig.blob('app', layers[0]!.digest, { method: 'HEAD' })
    expect(head).toMatchObject({ size: layers[0]!.size, body: undefined })
    expect(blobGets(hub)).toBe(0)
  })

  it('is cut for its readers when its bytes are wrong, and comes whole the next time', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [300_000] })
    hub.next('GET', '/v2/app/blobs/*', fault.corrupt(-1))
    await expect(rig.bytes('app', layers[0]!.digest)).rejects.toMatchObject({ kind: 'invalid-response' })
    expect(digestOf(await rig.bytes('app', layers[0]!.digest))).toBe(layers[0]!.digest)
  })
})

describe('bytes that are here already', () => {
  it('B45: are not served to a repository or a registry without a link', async () => {
    const { layers, manifest } = await pushImage(contentStore(hub.content), 'private/app', {
      tag: 'v1',
      layers: [5000],
    })
    await rig.manifest('private/app', 'v1')
    await rig.bytes('private/app', layers[0]!.digest)
    await expect(rig.blob('public/app', layers[0]!.digest)).rejects.toMatchObject({ key: 'BLOB_UNKNOWN' })
    await expect(rig.manifest('public/app', manifest.digest)).rejects.toMatchObject({
      key: 'MANIFEST_UNKNOWN',
    })
    for (const method of ['GET', 'HEAD'] as const) {
      await expect(
        rig.blob('private/app', layers[0]!.digest, { registry: 'tenant', method }),
      ).rejects.toMatchObject({
        key: 'BLOB_UNKNOWN',
      })
    }
  })

  it('are sent again by an upstream that says yes to everything, and then are what it sent', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'private/app', { layers: [5000] })
    const secret: Digest = layers[0]!.digest
    await rig.bytes('private/app', secret)
    other.always('HEAD', '/v2/*', fault.all(fault.status(200, { body: 'x'.repeat(layers[0]!.size) })))
    other.always('GET', '/v2/*', fault.body('x'.repeat(layers[0]!.size)))
    await expect(rig.bytes('private/app', secret, { registry: 'tenant' })).rejects.toMatchObject({
      kind: 'invalid-response',
    })
    expect(blobGets(other)).toBeGreaterThan(0)
    await expect(rig.bytes('private/app', secret, { registry: 'tenant' })).rejects.toThrow()
  })

  it('cost one HEAD where the same origin sent them before', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [5000] })
    await rig.bytes('app', layers[0]!.digest)
    await rig.restart()
    hub.forgetRequests()
    expect(digestOf(await rig.bytes('app', layers[0]!.digest, { registry: 'same-origin' }))).toBe(
      layers[0]!.digest,
    )
    expect(hub.requests().map(({ method }) => method)).toEqual(['HEAD'])
  })

  it('are refused where the same origin says no to this account', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [5000] })
    await rig.bytes('app', layers[0]!.digest)
    hub.always('*', '/v2/app/blobs/*', fault.status(404))
    await expect(rig.blob('app', layers[0]!.digest, { registry: 'same-origin' })).rejects.toMatchObject({
      key: 'BLOB_UNKNOWN',
    })
  })

  it('are joined while they come in only by who may have them', async () => {
    const { layers } = await pushImage(contentStore(hub.content), 'app', { layers: [2_000_000] })
    const { digest } = layers[0]!
    hub.always('GET', '/v2/app/blobs/*', fault.slow(4_000_000))
    const filling = rig.bytes('app', digest)
    await expect.poll(() => blobGets(hub)).toBe(1)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const joining = rig.bytes('app', digest, { registry: 'same-origin' })
    await expect(rig.blob('elsewhere', digest)).rejects.toMatchObject({ key: 'BLOB_UNKNOWN' })
    expect(digestOf(await filling)).toBe(digest)
    expect(digestOf(await joining)).toBe(digest)
    expect(blobGets(hub)).toBe(1)
  })
})

it('a link is written although its store is away for a moment after the blob was stored', async () => {
  const { layers } = await pushImage(contentStore(hub.content), 'app')
  const { digest } = layers[0]!
  const answers: boolean[] = []
  const flaky = await createPullRig([{ name: 'hub', at: hub }], [{ name: 'main', upstreams: ['hub'] }], {
    documentsOver: (files) => ({
      ...files,
      async put(...given) {
        answers.push(answers.length > 0)
        if (answers.length === 1) throw new StoreUnavailableError('S3 is away')
        return files.put(...given)
      },
    }),
  })
  try {
    await flaky.bytes('app', digest)
    await expect.poll(() => answers, { timeout: 5_000 }).toEqual([false, true])
    await flaky.restart({ withoutIndex: true })
    await hub.stop()
    expect(digestOf(await flaky.bytes('app', digest))).toBe(digest)
  } finally {
    await flaky.close()
  }
})
