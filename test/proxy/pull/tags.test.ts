import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import type { Fault } from '../../rig/fault.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, pushIndex } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let first: FakeUpstream
let second: FakeUpstream
let rig: PullRig

beforeEach(async () => {
  first = await createFakeUpstream()
  second = await createFakeUpstream()
  rig = await createPullRig(
    [
      { name: 'first', at: first },
      { name: 'second', at: second },
    ],
    [
      { name: 'both', upstreams: ['first', 'second'] },
      { name: 'reversed', upstreams: ['second', 'first'] },
      { name: 'forgiving', upstreams: [{ name: 'first', failurePolicy: 'Ignore' }, 'second'] },
    ],
  )
})

afterEach(async () => {
  await rig.close()
  await first.close()
  await second.close()
})

const manifests = '/v2/app/manifests/*'

describe('a tag within its validity', () => {
  it('is asked of the upstream once, then not again', async () => {
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    const cold = await rig.manifest('app', 'v1')
    const warm = await rig.manifest('app', 'v1')
    expect(cold).toMatchObject({
      digest: manifest.digest,
      mediaType: manifest.mediaType,
      size: manifest.size,
    })
    expect(digestOf(warm.bytes!)).toBe(manifest.digest)
    expect([cold.story.outcome, warm.story.outcome]).toEqual(['miss', 'hit'])
    expect(first.requests()).toHaveLength(1)
    expect(second.requests()).toHaveLength(0)
  })

  it('is answered to HEAD with the same digest, type and length, without bytes', async () => {
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    const { digest, mediaType, size, bytes } = await rig.manifest('app', 'v1', { method: 'HEAD' })
    expect({ digest, mediaType, size }).toEqual(manifest)
    expect(bytes).toBeUndefined()
  })

  it('is what the upstream has now when its cached bytes and what it was upstream are both gone', async () => {
    const old = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.content.remove('app', old.manifest.digest)
    await rig.restart()
    await rm(join(rig.folder, 'blobs', blobKey(old.manifest.digest)))
    const answer = await rig.manifest('app', 'v1')
    expect(digestOf(answer.bytes!)).toBe(manifest.digest)
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })

  it('is kept in memory of its own size, not in a piece of a larger one that stays for it', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    const { bytes } = await rig.manifest('app', 'v1')
    expect(bytes!.buffer.byteLength).toBe(bytes!.length)
  })

  it('costs a HEAD no more than a HEAD when its cached bytes are gone, and moves with the pull after it', async () => {
    const old = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.content.remove('app', old.manifest.digest)
    await rig.restart()
    await rm(join(rig.folder, 'blobs', blobKey(old.manifest.digest)))
    first.forgetRequests()
    const head = await rig.manifest('app', 'v1', { method: 'HEAD' })
    expect(first.requests().map(({ method }) => method)).toEqual(['HEAD'])
    expect(head).toMatchObject({ digest: manifest.digest, size: manifest.size })
    await rig.manifest('app', manifest.digest)
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })

  it('survives a restart, and the loss of the index', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    await rig.restart()
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('hit')
    await rig.restart({ withoutIndex: true })
    await first.stop()
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('stale-served')
  })

  it.each(['GET', 'HEAD'] as const)(
    'does not go back when the answer to a %s from before it moved comes after',
    async (method) => {
      const old = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
      const isAsked = Promise.withResolvers<void>()
      const isMoved = Promise.withResolvers<void>()
      first.next(method, '/v2/app/manifests/v1', (reply) => {
        reply.hold = isMoved.promise
        isAsked.resolve()
      })
      const slow = rig.manifest('app', 'v1', { method })
      await isAsked.promise
      const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
      if (method === 'GET') await rig.manifest('app', 'v1', { method: 'HEAD' })
      await rig.manifest('app', method === 'GET' ? manifest.digest : 'v1')
      isMoved.resolve()
      expect((await slow).digest).toBe(old.manifest.digest)
      await rig.manifest('app', old.manifest.digest)
      expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
    },
  )

  it('is asked for once by a hundred cold pulls', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    const answers = await Promise.all(Array.from({ length: 100 }, () => rig.manifest('app', 'v1')))
    expect(new Set(answers.map(({ digest }) => digest)).size).toBe(1)
    expect(first.requests()).toHaveLength(1)
  })

  it('is taken from what another registry cached, once those above it said no', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    const other = await rig.manifest('app', 'v1', { registry: 'reversed' })
    expect(other.story).toMatchObject({
      outcome: 'hit',
      upstream: 'default/first',
      trail: ['default/second: 404'],
    })
    expect(first.requests()).toHaveLength(1)
  })

  it('does not hide a higher upstream of another registry that ranks them otherwise', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 1 })
    const wanted = await pushImage(contentStore(second.content), 'app', { tag: 'v1', seed: 2 })
    await rig.manifest('app', 'v1')
    expect((await rig.manifest('app', 'v1', { registry: 'reversed' })).digest).toBe(wanted.manifest.digest)
  })
})

describe('a stale tag', () => {
  async function cached() {
    const image = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await pushImage(contentStore(second.content), 'app', { tag: 'v1', seed: 7 })
    await rig.manifest('app', 'v1')
    rig.advance(61)
    first.forgetRequests()
    return image
  }

  it('costs one HEAD for any number of pulls when it is unchanged, and is fresh again', async () => {
    await cached()
    const answers = await Promise.all(Array.from({ length: 50 }, () => rig.manifest('app', 'v1')))
    expect(new Set(answers.map(({ story }) => story.outcome))).toEqual(new Set(['revalidated']))
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('hit')
    expect(first.requests().map(({ method }) => method)).toEqual(['HEAD'])
  })

  it('moves when the upstream has moved it: one HEAD, one GET by digest', async () => {
    await cached()
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    const answers = await Promise.all(Array.from({ length: 50 }, () => rig.manifest('app', 'v1')))
    for (const { digest, bytes, size } of answers) {
      expect(digest).toBe(manifest.digest)
      expect(digestOf(bytes!)).toBe(manifest.digest)
      expect(bytes!.length).toBe(size)
    }
    expect(first.requests().map(({ method, path }) => `${method} ${path}`)).toEqual([
      'HEAD /v2/app/manifests/v1',
      `GET /v2/app/manifests/${manifest.digest}`,
    ])
  })

  const outages: [string, Fault | 'stopped'][] = [
    ['U1: refuses connections', 'stopped'],
    ['U3: never answers', fault.hang()],
    ['U4: answers 500', fault.status(500)],
    ['U4: answers 502', fault.status(502)],
    ['U4: answers 503', fault.status(503)],
    ['U20: answers with a web page', fault.body('<html>', 'text/html')],
    ['U22: answers 401', fault.status(401)],
    ['U26: answers 403', fault.status(403)],
    ['U28: answers 404', fault.status(404)],
    ['U29: answers 429', fault.tooManyRequests('7')],
    ['U37: answers with nonsense', fault.raw('SSH-2.0-OpenSSH_9\r\n')],
  ]
  it.each(outages)('is served, with a warning, while its upstream %s', async (_name, outage) => {
    const { manifest } = await cached()
    if (outage === 'stopped') await first.stop()
    else first.always('*', manifests, outage)
    const startedAt = performance.now()
    const answer = await rig.manifest('app', 'v1')
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    expect(answer.digest).toBe(manifest.digest)
    expect(answer.story).toMatchObject({ outcome: 'stale-served', upstream: 'default/first' })
    expect(answer.warning).toMatch(/serving cached content/)

    const asked = first.requests().length
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('stale-served')
    expect(first.requests()).toHaveLength(asked)
    expect(second.requests()).toHaveLength(0)

    await first.heal()
    rig.advance(61)
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('revalidated')
  })

  it('U5: stays what it was when the HEAD works and the GET does not', async () => {
    const { manifest } = await cached()
    await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.always('GET', manifests, fault.status(500))
    const answer = await rig.manifest('app', 'v1')
    expect(answer).toMatchObject({ digest: manifest.digest, story: { outcome: 'stale-served' } })
  })

  it.each([
    ['404', fault.status(404)],
    ['405', fault.status(405)],
    ['501', fault.status(501)],
    ['no digest', fault.digestHeader(undefined)],
    ['a digest that is none', fault.digestHeader('md5:00')],
  ])('U7: is fetched by tag when its HEAD is answered with %s', async (_name, oddity) => {
    await cached()
    const moved = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.always('HEAD', manifests, oddity)
    expect((await rig.manifest('app', 'v1')).digest).toBe(moved.manifest.digest)
  })

  it('U7: U28: is fetched once before it is said to be gone, and then left alone', async () => {
    await cached()
    first.always('*', manifests, fault.status(404))
    expect((await rig.manifest('app', 'v1')).warning).toMatch(/no longer serves/)
    await rig.manifest('app', 'v1')
    expect(first.requests().map(({ method }) => method)).toEqual(['HEAD', 'GET'])
  })

  it.each([404, 405])('U7: is not written again when a GET after %i gives what is cached', async (status) => {
    await cached()
    await rig.restart()
    first.always('HEAD', manifests, fault.status(status))
    const before = await writtenFiles()
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('revalidated')
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('hit')
    await rig.restart()
    expect(await writtenFiles()).toEqual(before)
  })

  it.each([401, 403, 404])(
    'U28: is confirmed again after %i as soon as its back-off is over',
    async (status) => {
      await rig.close()
      rig = await createPullRig([{ name: 'first', at: first }], [{ name: 'both', upstreams: ['first'] }], {
        negativeMs: 60_000,
      })
      await cached()
      first.always('*', manifests, fault.status(status))
      expect((await rig.manifest('app', 'v1')).story.outcome).toBe('stale-served')
      await first.heal()
      rig.advance(1.1)
      expect((await rig.manifest('app', 'v1')).story.outcome).toBe('revalidated')
    },
  )

  it('U16: becomes what the body is, whatever the HEAD said', async () => {
    await cached()
    const moved = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.next('HEAD', manifests, fault.digestHeader(undefined))
    first.always('GET', manifests, fault.digestHeader(`sha256:${'0'.repeat(64)}`))
    const { digest, bytes } = await rig.manifest('app', 'v1')
    expect(digest).toBe(moved.manifest.digest)
    expect(digestOf(bytes!)).toBe(digest)
  })

  it('answers a HEAD with what the HEAD learnt, and moves when that digest is fetched', async () => {
    const { manifest: old } = await cached()
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    const head = await rig.manifest('app', 'v1', { method: 'HEAD' })
    expect(head).toMatchObject({ digest: manifest.digest, size: manifest.size })
    expect((await rig.manifest('app', 'v1', { method: 'HEAD' })).digest).toBe(manifest.digest)
    expect(first.requests().map(({ method }) => method)).toEqual(['HEAD'])

    await first.stop()
    expect((await rig.manifest('app', 'v1')).digest).toBe(old.digest)
    await first.heal()
    rig.advance(5)
    await rig.manifest('app', manifest.digest)
    await first.stop()
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })

  it('moves too when the HEAD came through a registry that had not pulled it yet', async () => {
    await cached()
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    await second.stop()
    rig.setRoutes(
      [{ name: 'first', at: first }],
      ['both', 'other'].map((name) => ({ name, upstreams: ['first'] })),
    )
    const head = await rig.manifest('app', 'v1', { method: 'HEAD', registry: 'other' })
    expect(head.digest).toBe(manifest.digest)
    await rig.manifest('app', manifest.digest, { registry: 'other' })
    await first.stop()
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })

  it('is not held back by a HEAD that was asked before it moved and is answered while a GET is under way', async () => {
    const [heard, given] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { manifest: old } = await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    first.next('HEAD', '/v2/app/manifests/v1', fault.until(heard.promise))
    const head = rig.manifest('app', 'v1', { method: 'HEAD' })
    await expect.poll(() => first.requests().length, { timeout: 10_000 }).toBe(1)
    rig.advance(0.1)
    const { manifest } = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.next('GET', '/v2/app/manifests/v1', fault.until(given.promise))
    const get = rig.manifest('app', 'v1')
    await expect.poll(() => first.requests().length, { timeout: 10_000 }).toBe(2)
    rig.advance(0.1)
    heard.resolve()
    expect((await head).digest).toBe(old.digest)
    await rig.manifest('app', old.digest)
    given.resolve()
    expect((await get).digest).toBe(manifest.digest)
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
  })

  it('is left alone for a second or two when its upstream hangs, however many were waiting', async () => {
    await cached()
    await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 3 })
    first.always('HEAD', manifests, fault.delay(300))
    first.always('GET', manifests, fault.hang())
    const answers = await Promise.all(Array.from({ length: 20 }, () => rig.manifest('app', 'v1')))
    for (const { story } of answers) expect(story.trail).toEqual(['default/first: timeout'])
    await first.heal()
    rig.advance(2.1)
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('revalidated')
  })

  it('is served unasked from an upstream that is CacheOnly', async () => {
    const { manifest } = await cached()
    rig.setRoutes([{ name: 'first', at: first, mode: 'CacheOnly' }], [{ name: 'both', upstreams: ['first'] }])
    expect((await rig.manifest('app', 'v1')).digest).toBe(manifest.digest)
    expect(first.requests()).toHaveLength(0)
    await expect(rig.manifest('app', 'other')).rejects.toMatchObject({ key: 'UNAVAILABLE' })
  })

  it.each([
    ['Always', 1],
    ['Never', 0],
  ] as const)('is checked %s as its upstream wants', async (policy, heads) => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    rig.setRoutes(
      [{ name: 'first', at: first, revalidation: { policy, validitySeconds: 60 } }],
      [{ name: 'both', upstreams: ['first'] }],
    )
    await rig.manifest('app', 'v1')
    rig.advance(policy === 'Never' ? 1e7 : 0)
    await rig.manifest('app', 'v1')
    expect(first.requests({ method: 'HEAD' })).toHaveLength(heads)
  })

  it('P11: does not stay fresh for ever when the clock jumps back', async () => {
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    await rig.manifest('app', 'v1')
    rig.jumpWallClock(-3600)
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('revalidated')
  })
})

describe('a tag that is not cached', () => {
  it('U27: is the next upstream’s when the first says no, and is remembered there', async () => {
    const { manifest } = await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    expect(await rig.manifest('app', 'v1')).toMatchObject({
      digest: manifest.digest,
      story: { upstream: 'default/second', trail: ['default/first: 404'] },
    })
    first.forgetRequests()
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('hit')
    expect(first.requests()).toHaveLength(0)
  })

  it('U27: is unknown when all say no, and found as soon as one has it', async () => {
    await expect(rig.manifest('app', 'v1')).rejects.toMatchObject({ key: 'MANIFEST_UNKNOWN', status: 404 })
    await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('miss')
  })

  const troubles: [string, Fault | 'stopped', number][] = [
    ['U1: refuses connections', 'stopped', 503],
    ['U4: answers 500', fault.status(500), 503],
    ['U18: sends an endless manifest', fault.endless(), 502],
    ['U20: sends a web page', fault.body('<html>', 'text/html'), 502],
    ['U20: sends no type', fault.headers({ 'content-type': undefined }), 502],
    ['U21: sends nothing', fault.body('', 'application/vnd.oci.image.manifest.v1+json'), 502],
    ['U29: throttles', fault.tooManyRequests('7'), 429],
    [
      'U44: sends schema 1',
      fault.headers({ 'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' }),
      502,
    ],
    ['U12: ends the body early', fault.chunkedWithoutEnd(), 503],
    ['U10: is cut', fault.cut(20), 503],
    ['U11: is reset', fault.cut(20, 'rst'), 503],
  ]
  it.each(troubles)(
    'is not taken from a lower upstream while the first %s',
    async (_name, trouble, status) => {
      await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 1 })
      const bait = await pushImage(contentStore(second.content), 'app', { tag: 'v1', seed: 2 })
      if (trouble === 'stopped') await first.stop()
      else first.always('*', manifests, trouble)
      await expect(rig.manifest('app', 'v1')).rejects.toMatchObject({ status })
      expect(second.requests()).toHaveLength(0)

      expect((await rig.manifest('app', 'v1', { registry: 'forgiving' })).digest).toBe(bait.manifest.digest)
    },
  )

  it('says after how long to come back when it is throttled', async () => {
    first.always('*', manifests, fault.tooManyRequests('7'))
    await expect(rig.manifest('app', 'v1')).rejects.toMatchObject({ status: 429, retryAfterSeconds: 7 })
    const asked = first.requests().length
    await expect(rig.manifest('app', 'v1')).rejects.toMatchObject({ status: 429 })
    expect(first.requests()).toHaveLength(asked)
    await first.heal()
    await pushImage(contentStore(first.content), 'app', { tag: 'v1' })
    rig.advance(8)
    expect((await rig.manifest('app', 'v1')).story.outcome).toBe('miss')
  })

  it('U41: is never the lower upstream’s while the higher one flaps', async () => {
    const wanted = await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 1 })
    await pushImage(contentStore(second.content), 'app', { tag: 'v1', seed: 2 })
    first.next(
      '*',
      manifests,
      ...Array.from({ length: 20 }, (_, i) => (i % 3 === 0 ? fault.none() : fault.status(503))),
    )
    for (let i = 0; i < 10; i++) {
      const answer = await rig.manifest('app', 'v1').catch((error: { status: number }) => error)
      if ('digest' in answer) expect(answer.digest).toBe(wanted.manifest.digest)
      else expect(answer.status).toBe(503)
    }
  })

  it('client C7: tells all who wait the same, errors too, for one request', async () => {
    first.always('*', manifests, fault.all(fault.delay(100), fault.status(500)))
    const answers = await Promise.allSettled(Array.from({ length: 50 }, () => rig.manifest('app', 'v1')))
    expect(answers.every(({ status }) => status === 'rejected')).toBe(true)
    expect(first.requests().length).toBeLessThanOrEqual(2)
  })

  it('is looked at by HEAD without being fetched, then fetched by digest from the upstream that had it', async () => {
    const { manifest } = await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    const head = await rig.manifest('app', 'v1', { method: 'HEAD' })
    expect(head).toMatchObject({ ...manifest, bytes: undefined })
    expect([...first.requests(), ...second.requests()].every(({ method }) => method === 'HEAD')).toBe(true)

    first.forgetRequests()
    await rig.manifest('app', manifest.digest)
    expect(first.requests()).toHaveLength(0)
    await second.stop()
    expect((await rig.manifest('app', 'v1')).story).toMatchObject({
      outcome: 'hit',
      upstream: 'default/second',
    })
  })

  it('is one of any number that become a digest when it is fetched', async () => {
    const { manifest } = await pushImage(contentStore(first.content), 'app')
    const tags = Array.from({ length: 120 }, (_, i) => `v${i}`)
    for (const tag of tags) first.content.tag('app', tag, manifest.digest)
    for (const tag of tags) await rig.manifest('app', tag, { method: 'HEAD' })
    await rig.manifest('app', manifest.digest)
    await first.stop()
    for (const tag of tags) expect((await rig.manifest('app', tag)).story.outcome).toBe('hit')
  })

  it('is looked at over and over without anything growing', async () => {
    await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    for (let i = 0; i < 300; i++) {
      await rig.manifest('app', 'v1', { method: 'HEAD' })
      rig.advance(61)
    }
    const { manifest } = await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    await rig.manifest('app', manifest.digest)
    await rig.restart()
    const documents = join(rig.folder, 'documents')
    const [name = ''] = (await readdir(documents, { recursive: true })).filter((path) =>
      path.endsWith('_tags/v1'),
    )
    expect(JSON.parse(await readFile(join(documents, name), 'utf8'))).toMatchObject({
      walks: [{ registry: 'default/both', ns: '' }],
    })
  })

  it('is filtered by the namespace a mirror is asked for', async () => {
    const { manifest } = await pushImage(contentStore(second.content), 'app', { tag: 'v1', seed: 2 })
    await pushImage(contentStore(first.content), 'app', { tag: 'v1', seed: 1 })
    expect((await rig.manifest('app', 'v1', { ns: second.host })).digest).toBe(manifest.digest)
    expect(first.requests()).toHaveLength(0)
    await expect(rig.manifest('app', 'v1', { ns: 'elsewhere.example' })).rejects.toMatchObject({
      key: 'NAME_UNKNOWN',
    })
    expect((await rig.manifest('app', 'v1')).digest).not.toBe(manifest.digest)
  })

  it('is known to a mirror’s namespace when the registry found it without one', async () => {
    await pushImage(contentStore(second.content), 'app', { tag: 'v1' })
    rig.setRoutes(
      ['first', 'second'].map((name) => ({
        name,
        at: name === 'first' ? first : second,
        namespaceHosts: ['one.example'],
      })),
      [{ name: 'both', upstreams: ['first', 'second'] }],
    )
    await rig.manifest('app', 'v1')
    await first.stop()
    expect((await rig.manifest('app', 'v1', { ns: 'one.example' })).story.outcome).toBe('hit')
  })

  it('U42: is one consistent image for each client while it moves', async () => {
    const store = contentStore(first.content)
    const old = await pushIndex(store, 'app', { tag: 'v1', seed: 10 })
    const next = await pushIndex(store, 'app', { tag: 'v2', seed: 20 })
    const pulls = Array.from({ length: 60 }, async (_, i) => {
      if (i === 30) first.content.tag('app', 'v1', next.index.digest)
      if (i % 10 === 0) rig.advance(61)
      const { digest, bytes } = await rig.manifest('app', 'v1')
      expect([old.index.digest, next.index.digest]).toContain(digest)
      expect(digestOf(bytes!)).toBe(digest)
      const children = digest === old.index.digest ? old.images : next.images
      for (const { manifest } of children)
        expect(digestOf((await rig.manifest('app', manifest.digest)).bytes!)).toBe(manifest.digest)
    })
    await Promise.all(pulls)
  })
})

/** Every document and blob, with what changes when it is written again. */
async function writtenFiles(): Promise<string[]> {
  const entries = await readdir(rig.folder, { recursive: true, withFileTypes: true })
  const paths = entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))
  const kept = paths.filter((path) => /\/(?:documents|blobs)\//.test(path)).sort()
  return Promise.all(kept.map(async (path) => `${path} ${(await stat(path)).ino}`))
}
