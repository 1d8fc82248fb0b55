import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { failureOf } from '../../../proxy/pull/failure.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { createS3BlobStore, type S3BlobStore } from '../../../proxy/store/s3-blob-store.ts'
import { type Bucket, createBucket } from '../../../proxy/store/s3-bucket.ts'
import { createFakeS3, type FakeS3 } from '../../rig/fake-s3.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushArtifact, pushImage, type SampleImage } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let s3: FakeS3
let bucket: Bucket
let high: FakeUpstream
let low: FakeUpstream
let rig: PullRig
const stores: S3BlobStore[] = []
let image: SampleImage

beforeEach(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key')
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret')
  s3 = await createFakeS3()
  bucket = createBucket({ bucket: 'it', endpoint: s3.endpoint })
  high = await createFakeUpstream()
  low = await createFakeUpstream()
  rig = await createPullRig(
    [
      { name: 'high', at: high },
      { name: 'low', at: low },
    ],
    [
      { name: 'one', upstreams: ['high'] },
      { name: 'both', upstreams: ['high', 'low'] },
    ],
    {
      blobsOver(hot) {
        stores.push(createS3BlobStore({ bucket, hot, observer: { storeFailure() {} } }))
        return stores.at(-1)!
      },
    },
  )
  image = await pushImage(contentStore(high.content), 'app', { tag: 'v1', layers: [5_000, 3_000_000] })
  await pushImage(contentStore(low.content), 'app', { tag: 'v1', seed: 2 })
  await rig.manifest('app', 'v1')
  for (const { digest } of image.layers) await rig.bytes('app', digest)
  await rig.restart()
})

afterEach(async () => {
  s3.lift()
  for (const store of stores.splice(0)) await store.settled()
  await rig.close()
  bucket.close()
  for (const one of [high, low, s3]) await one.close()
  vi.unstubAllEnvs()
})

const fileOf = (digest: Digest) => join(rig.folder, 'blobs', blobKey(digest))
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'given',
    (error: unknown) => (failureOf(error) as { code?: string }).code,
  )

describe.each([
  ['bucket S1: refuses to give', { kind: 'error', status: 500, code: 'InternalError' }],
  ['bucket S4: cuts before its first byte', { kind: 'cut', bytes: 0 }],
] as const)('what S3 has and %s, and the upstream has no more', (_, withholding) => {
  beforeEach(async () => {
    for (const { digest } of [...image.layers, image.manifest]) await rm(fileOf(digest))
    s3.always(['GetObject'], withholding)
    high.always('*', '*', fault.status(404))
  })

  it.each([
    ['a blob', () => rig.bytes('app', image.layers[0]!.digest)],
    ['a large blob', () => rig.bytes('app', image.layers[1]!.digest)],
    ['a manifest by digest', () => rig.manifest('app', image.manifest.digest)],
    ['a manifest by tag', () => rig.manifest('app', 'v1')],
    ['the HEAD of a tag', () => rig.manifest('app', 'v1', { method: 'HEAD' })],
  ])('is no 404 to %s: it is there', async (_, ask) => {
    expect(await codeOf(ask())).toBe('UNAVAILABLE')
    s3.lift()
    await expect.poll(() => bucket.available, { timeout: 5_000 }).toBe(true)
    expect(await codeOf(ask())).toBe('given')
  })

  it('is not taken for an empty list of referrers, and goes on to be listed', async () => {
    s3.lift()
    await high.heal()
    const { subject } = await pushArtifact(contentStore(high.content), 'signed', {
      tag: 'v1',
      byTagSchema: true,
    })
    const list = () => rig.referrers('signed', subject.manifest.digest)
    expect((await list()).manifests).toHaveLength(2)
    await rig.restart()
    await rm(join(rig.folder, 'blobs', 'sha256'), { recursive: true })
    s3.always(['GetObject'], withholding)
    high.always('*', '*', fault.status(404))
    expect(await codeOf(list())).toBe('UNAVAILABLE')
    s3.lift()
    await expect.poll(() => bucket.available, { timeout: 5_000 }).toBe(true)
    expect((await list()).manifests).toHaveLength(2)
  })

  it('is not replaced by what a lower-priority upstream has under its tag', async () => {
    expect(await codeOf(rig.manifest('app', 'v1', { registry: 'both' }))).toBe('UNAVAILABLE')
    expect(low.requests()).toEqual([])
  })
})

describe('a rotten copy on the own disk', () => {
  beforeEach(() => high.always('*', '*', fault.status(500)))

  it.each([
    ['a manifest', () => image.manifest],
    ['a small blob', () => image.layers[0]!],
    ['a large blob of another size', () => image.layers[1]!],
  ])('of %s is replaced by what S3 has, at once', async (_, of) => {
    const { digest, size } = of()
    await writeFile(fileOf(digest), Buffer.alloc(size > 1024 * 1024 ? size - 1 : size))
    const bytes =
      of() === image.manifest ? (await rig.manifest('app', 'v1')).bytes! : await rig.bytes('app', digest)
    expect(digestOf(bytes)).toBe(digest)
  })

  it('of a large blob that fails with its first read is replaced by what S3 has, at once', async () => {
    const { digest } = image.layers[1]!
    const { body } = await rig.blob('app', digest)
    await truncate(fileOf(digest), 0)
    const buffer = Buffer.alloc(1_000)
    expect(await body!.read(buffer, 2_000_000)).toBeGreaterThan(0)
    body!.close()
  })
})
