import { afterAll, beforeAll, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { type Asked, ask } from '../../rig/asking.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { fault } from '../../rig/fake-upstream.ts'
import type { SampleImage } from '../../rig/images.ts'
import { type RedisServer, startRedis } from '../../rig/redis.ts'
import { blobKeyOf, createStoreScene, pullImage, type StoreScene } from './store-scene.ts'

interface Row {
  readonly title: string
  /** Given what the bucket has, and this replica has not; leaves the fault on. */
  readonly run: (scene: StoreScene, stored: SampleImage) => Promise<void>
}

/** Of what goes into memory, and of what never does. */
const small = 60_000
const large = 3_000_000
const cutAfter = 500_000
/** What a client waits for a silent S3, and a busy machine. */
const longestStallMs = 10_000
/** From where S3 was asked four times, each time for what was missing; a reset may take some bytes with it. */
const afterFourBodies = expect.stringMatching(/^bytes=1\d{6}-$|^bytes=2000000-$/)

const smallOf = ({ layers }: SampleImage) => layers[0]!
const largeOf = ({ layers }: SampleImage) => layers[1]!
const pathOf = ({ repository }: SampleImage, digest: string) => `/v2/${repository}/blobs/${digest}`

/** What the upstream was asked for of a blob, after the other replica had it. */
const rangesOf = ({ upstream }: StoreScene, image: SampleImage, digest: string) =>
  upstream
    .requests({ method: 'GET', path: pathOf(image, digest) })
    .slice(1)
    .map(({ headers }) => headers.range ?? 'all of it')

const told = ({ status, cut, code }: Asked) => ({ status, cut, code })
const whole = { status: 200, cut: false, code: undefined }
const refused = { status: 503, cut: false, code: 'UNAVAILABLE' }

const unread: readonly Row[] = [
  {
    title: 'bucket S3: falls silent within every body: what came goes on from the upstream, in time',
    async run(scene, stored) {
      scene.s3.always(['GetObject'], { kind: 'stall', bytes: 20_000 })
      const ms = await pullImage((path) => scene.get(stored, path), stored)
      expect(ms).toBeLessThan(longestStallMs)
    },
  },
  {
    title: 'bucket S4: cuts every body: what came goes on from the upstream at that very byte',
    async run(scene, stored) {
      const { digest } = largeOf(stored)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: cutAfter })
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
      expect(rangesOf(scene, stored, digest)).toEqual([afterFourBodies])
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
      expect(rangesOf(scene, stored, digest)).toHaveLength(1)
    },
  },
  {
    title: 'bucket S4: cuts every body before its first byte: manifests and blobs come from the upstream',
    async run(scene, stored) {
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: 0 })
      await pullImage((path) => scene.get(stored, path), stored)
      expect(rangesOf(scene, stored, smallOf(stored).digest)).toEqual(['all of it'])
      expect(rangesOf(scene, stored, largeOf(stored).digest)).toEqual(['all of it'])
    },
  },
  {
    title: 'bucket S4: cuts every body for many at once: the upstream goes on once for all',
    async run(scene, stored) {
      const { digest } = largeOf(stored)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: cutAfter })
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => scene.get(stored, `blobs/${digest}`)),
      )
      for (const answer of answers) expect(told(answer)).toEqual(whole)
      expect(rangesOf(scene, stored, digest)).toEqual([afterFourBodies])
    },
  },
  {
    title: 'bucket S4: cuts what was asked for from its middle: it comes from the upstream',
    async run(scene, stored) {
      const { digest, size } = largeOf(stored)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: 0 })
      const path = `/v2/default/hub/${stored.repository}/blobs/${digest}`
      const { status, cut, body } = await ask(scene.headwater, path, { headers: { range: 'bytes=2500000-' } })
      expect([status, cut, body.length]).toEqual([206, false, size - 2_500_000])
    },
  },
  {
    title:
      'bucket S4: cuts every body, and the upstream knows no ranges: the answer is cut, the next comes whole',
    async run(scene, stored) {
      const { digest } = largeOf(stored)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: cutAfter })
      scene.upstream.always('GET', pathOf(stored, digest), fault.ignoreRange())
      expect((await scene.get(stored, `blobs/${digest}`)).cut).toBe(true)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: 0 })
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
    },
  },
  {
    title: 'bucket S4: cuts every body with the upstream down too: 503, and cut where it had begun',
    async run(scene, stored) {
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: 0 })
      await scene.upstream.stop()
      for (const { digest } of [smallOf(stored), largeOf(stored)])
        expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(refused)
      expect(told(await scene.get(stored, 'manifests/v1'))).toEqual(refused)
      expect(told(await scene.get(stored, `manifests/${stored.manifest.digest}`))).toEqual(refused)
      scene.s3.always(['GetObject'], { kind: 'cut', bytes: cutAfter })
      expect((await scene.get(stored, `blobs/${largeOf(stored).digest}`)).cut).toBe(true)
      scene.s3.lift()
      await pullImage((path) => scene.get(stored, path), stored)
    },
  },
  ...(
    [
      ['bucket S4: cuts every body', { kind: 'cut', bytes: 0 }],
      ['bucket S1: refuses every body', { kind: 'error', status: 500, code: 'InternalError' }],
    ] as const
  ).map(([what, withholding]) => ({
    title: `${what} of what the upstream has no more: 503, for it is there`,
    async run(scene: StoreScene, stored: SampleImage) {
      scene.s3.always(['GetObject'], withholding)
      scene.upstream.always('*', '*', fault.status(404))
      for (const { digest } of [smallOf(stored), largeOf(stored)])
        expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(refused)
      expect(told(await scene.get(stored, `manifests/${stored.manifest.digest}`))).toEqual(refused)
      expect(told(await scene.get(stored, 'manifests/v1'))).toEqual(refused)
      scene.s3.lift()
      await expect.poll(scene.readiness, { timeout: 10_000 }).toBe('ok')
      await pullImage((path) => scene.get(stored, path), stored)
    },
  })),
  {
    title: 'bucket S1: says what it has and refuses to give it: all comes from the upstream',
    async run(scene, stored) {
      scene.s3.always(['GetObject'], { kind: 'error', status: 500, code: 'InternalError' })
      await pullImage((path) => scene.get(stored, path), stored)
    },
  },
]

const other = (bytes: Buffer) => Buffer.from(bytes.map((byte) => byte ^ 1))
const shorter = (bytes: Buffer) => bytes.subarray(0, bytes.length - 10)

function spoil({ s3 }: StoreScene, digest: string, into: (bytes: Buffer) => Buffer): void {
  s3.put(blobKeyOf(digest), Buffer.from(into(s3.objects.get(blobKeyOf(digest))!)))
}

async function expectStoredAnew({ s3 }: StoreScene, ...digests: string[]): Promise<void> {
  for (const digest of digests) {
    const isRight = () => {
      const bytes = s3.objects.get(blobKeyOf(digest))
      return bytes !== undefined && digestOf(bytes) === digest
    }
    await expect.poll(isRight, { timeout: 10_000 }).toBe(true)
  }
}

const spoiled: readonly Row[] = [
  ...(['other', 'shorter'] as const).map((how) => ({
    title: `bucket S12: has ${how === 'other' ? 'other bytes' : 'fewer bytes'}: small ones come from the upstream at once, and are stored anew`,
    async run(scene: StoreScene, stored: SampleImage) {
      const digests = [stored.manifest, stored.config, smallOf(stored)].map(({ digest }) => digest)
      for (const digest of digests) spoil(scene, digest, how === 'other' ? other : shorter)
      await pullImage((path) => scene.get(stored, path), stored)
      await expectStoredAnew(scene, ...digests)
    },
  })),
  {
    title: 'bucket S12: has fewer bytes of a large one: it comes from the upstream at once',
    async run(scene, stored) {
      const { digest } = largeOf(stored)
      spoil(scene, digest, shorter)
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
      await expectStoredAnew(scene, digest)
    },
  },
  {
    title: 'bucket S12: has other bytes of a large one: cut before its last byte, whole the next time',
    async run(scene, stored) {
      const { digest } = largeOf(stored)
      spoil(scene, digest, other)
      expect((await scene.get(stored, `blobs/${digest}`)).cut).toBe(true)
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
      await expectStoredAnew(scene, digest)
    },
  },
  {
    title:
      'bucket S12: has other bytes and lets nobody delete them: small ones come from the upstream all the same',
    async run(scene, stored) {
      const { digest } = smallOf(stored)
      spoil(scene, digest, other)
      scene.s3.always(['DeleteObject'], { kind: 'error', status: 403, code: 'AccessDenied' })
      expect(told(await scene.get(stored, `blobs/${digest}`))).toEqual(whole)
      scene.s3.lift()
      scene.s3.remove(blobKeyOf(digest))
    },
  },
  {
    title: 'bucket S12: has documents that say nothing: what they said is asked of the upstream',
    async run(scene, stored) {
      for (const key of scene.s3.objects.keys())
        if (key.startsWith('documents/') && key.includes(stored.repository))
          scene.s3.put(key, Buffer.from('{"digest":'))
      await pullImage((path) => scene.get(stored, path), stored)
    },
  },
]

/** What the bucket has and this replica has not, while the bucket does not give it, or gives something else. */
describeWithParts(['redis-server'], 'a replica whose bucket', () => {
  let redis: RedisServer
  let scene: StoreScene
  const rows = [...unread, ...spoiled]

  beforeAll(async () => {
    redis = await startRedis()
    scene = await createStoreScene({
      rows: rows.length,
      storedLayers: [small, large],
      redisPort: redis.port,
    })
  })
  afterAll(async () => {
    await scene?.close()
    await redis?.close()
  })

  it.each(rows.map(({ title, run }, at) => [title, run, at] as const))('%s', async (_, run, at) => {
    const { upstream, s3, invariants, images, get } = scene
    const { stored, later } = images[at]!
    if (at === rows.length - 1) await redis.command('FLUSHALL')
    invariants.begin()
    await run(scene, stored)
    await invariants.expect({
      upstreams: [upstream],
      requestsAtMost: 20,
      repository: stored.repository,
      digests: [stored.manifest.digest, smallOf(stored).digest],
      heal: () => s3.lift(),
      cold: `/v2/default/hub/${later.repository}/manifests/v1`,
    })
    await pullImage((path) => get(stored, path), stored)
  })
})
