import { readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { createPullRig, type PullRig } from '../../rig/pull-rig.ts'

let hub: FakeUpstream
let rig: PullRig
let image: SampleImage

beforeEach(async () => {
  hub = await createFakeUpstream()
  rig = await createPullRig([{ name: 'hub', at: hub }], [{ name: 'main', upstreams: ['hub'] }])
  image = await pushImage(contentStore(hub.content), 'app', { tag: 'v1', layers: [5_000, 3_000_000] })
  await rig.manifest('app', 'v1')
  for (const { digest } of image.layers) await rig.bytes('app', digest)
  await rig.restart()
  hub.forgetRequests()
})

afterEach(async () => {
  await rig.close()
  await hub.close()
})

const fileOf = (digest: Digest) => join(rig.folder, 'blobs', blobKey(digest))
const isWhole = async (digest: Digest) => digestOf(await readFile(fileOf(digest))) === digest

/** Other bytes, as many. */
async function turn(digest: Digest): Promise<void> {
  const bytes = await readFile(fileOf(digest))
  bytes[100] = bytes[100]! ^ 1
  await writeFile(fileOf(digest), bytes)
}

it('a manifest that has rotted on the disk is fetched again, and stored anew', async () => {
  const { digest } = image.manifest
  await turn(digest)
  expect(digestOf((await rig.manifest('app', 'v1')).bytes!)).toBe(digest)
  expect(hub.requests({ method: 'GET' })).toHaveLength(1)
  await rig.restart()
  expect(await isWhole(digest)).toBe(true)
  expect(rig.observed.failures.map(({ operation }) => operation)).toEqual(['blob.spoiled'])
})

it.each([
  ['other bytes', turn],
  ['fewer bytes', (digest: Digest) => truncate(fileOf(digest), 4_000)],
] as const)('a small blob of %s comes from the upstream at once, and is stored anew', async (_, spoil) => {
  const { digest } = image.layers[0]!
  await spoil(digest)
  expect(digestOf(await rig.bytes('app', digest))).toBe(digest)
  expect(hub.requests({ method: 'GET' })).toHaveLength(1)
  await rig.restart()
  expect(await isWhole(digest)).toBe(true)
})

it('a large blob that got shorter while it was read is cut, and comes from the upstream the next time', async () => {
  const { digest } = image.layers[1]!
  const { body } = await rig.blob('app', digest)
  const buffer = Buffer.alloc(1_000)
  await body!.read(buffer, 0)
  await truncate(fileOf(digest), 2_000_000)
  await expect(body!.read(buffer, 2_500_000)).rejects.toMatchObject({ name: 'SpoiledBlobError' })
  body!.close()
  expect(digestOf(await rig.bytes('app', digest))).toBe(digest)
  await rig.restart()
  expect(await isWhole(digest)).toBe(true)
})

it('a large blob that cannot be read from its first byte on comes from the upstream at once', async () => {
  const { digest } = image.layers[1]!
  const { body } = await rig.blob('app', digest)
  await truncate(fileOf(digest), 0)
  const buffer = Buffer.alloc(1_000)
  expect(await body!.read(buffer, 2_000_000)).toBeGreaterThan(0)
  body!.close()
  expect(hub.requests({ method: 'GET' })).toHaveLength(1)
})
