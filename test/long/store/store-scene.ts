import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { expect } from 'vitest'
import { type Asked, ask } from '../../rig/asking.ts'
import { createFakeS3, type FakeS3 } from '../../rig/fake-s3.ts'
import { createFakeUpstream, type FakeUpstream } from '../../rig/fake-upstream.ts'
import { createFaultProxy, type FaultProxy } from '../../rig/fault-proxy.ts'
import { type Headwater, startHeadwater, temporaryFolder } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { type Invariants, watchInvariants } from '../../rig/invariants.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { s3AccessKey, s3SecretKey } from '../../rig/s3-server.ts'

/** What each row has of its own, in repositories of its own. */
export interface RowImages {
  /** Pulled by this replica: on its disk and in the bucket. */
  readonly warm: SampleImage
  /** Pulled by another replica: in the bucket alone. */
  readonly stored: SampleImage
  /** Pulled by nobody. */
  readonly cold: SampleImage
  /** For when the fault is over. */
  readonly later: SampleImage
}

/** One replica over a real or fake Redis and a fake S3, with a bystander. */
export interface StoreScene {
  readonly headwater: Headwater
  readonly upstream: FakeUpstream
  readonly s3: FakeS3
  readonly redisPort: FaultProxy
  readonly invariants: Invariants
  readonly images: readonly RowImages[]
  /** A path of an image, through the registry where tags are fresh for a day. */
  get(image: SampleImage, path: string): Promise<Asked>
  readiness(): Promise<string>
  close(): Promise<void>
}

const usualLayer = 60_000

export const blobKeyOf = (digest: string) => `blobs/${digest.replace(':', '/').replace(/\/(..)/, '/$1/$1')}`

/** With so many rows; those in `large` have cold layers of more than one part. */
export async function createStoreScene({
  rows,
  large = () => false,
  storedLayers = [usualLayer],
  redisPort: target,
}: {
  rows: number
  large?: (row: number) => boolean
  /** Of what the bucket has. */
  storedLayers?: readonly number[]
  redisPort: number
}): Promise<StoreScene> {
  const s3 = await createFakeS3()
  const redisPort = await createFaultProxy(target)
  const upstream = await createFakeUpstream()
  const bystander = await createFakeUpstream()
  await pushImage(contentStore(bystander.content), 'calm', { tag: 'v1', seed: 93 })
  const push = (row: number, name: string, seed: number) =>
    pushImage(contentStore(upstream.content), `row-${row}/${name}`, {
      ...{ tag: 'v1', seed: 100 * row + seed, inMemory: true },
      layers: name === 'stored' ? storedLayers : [name === 'cold' && large(row) ? 18_000_000 : usualLayer],
    })
  const images: RowImages[] = []
  for (let row = 0; row < rows; row++) {
    images.push({
      warm: await push(row, 'warm', 1),
      stored: await push(row, 'stored', 2),
      cold: await push(row, 'cold', 3),
      later: await push(row, 'later', 4),
    })
  }

  const start = async (url: string) =>
    startHeadwater({
      resources: [
        ...upstreamResources('up', { url: upstream.url }),
        ...upstreamResources('bystander', { url: bystander.url }),
        registryResource('hub', ['up']),
        registryResource('bystander', ['bystander']),
      ],
      data: await temporaryFolder(),
      args: ['--redis-url', url, '--s3-bucket', 'bucket', '--s3-endpoint', s3.endpoint],
      env: { AWS_ACCESS_KEY_ID: s3AccessKey, AWS_SECRET_ACCESS_KEY: s3SecretKey },
    })
  const end = async (headwater: Headwater) => {
    expect(await headwater.stop(), headwater.log()).toBe(0)
    await rm(headwater.data, { recursive: true, force: true })
  }
  const getFrom = (headwater: Headwater, { repository }: SampleImage, path: string) =>
    ask(headwater, `/v2/default/hub/${repository}/${path}`)

  const other = await start(`redis://127.0.0.1:${target}`)
  for (const { stored } of images) await pullImage((path) => getFrom(other, stored, path), stored)
  await end(other)
  const headwater = await start(`redis://127.0.0.1:${redisPort.port}`)
  for (const { warm } of images) await pullImage((path) => getFrom(headwater, warm, path), warm)

  const invariants = await watchInvariants(headwater, {
    watched: () => [{ upstream }, { upstream: bystander }],
    bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
    shared: { blobs: 'spool/blobs', connections: 40, scrub: () => expectHashes(s3) },
  })

  return {
    ...{ headwater, upstream, s3, redisPort, invariants, images },
    get: (image, path) => getFrom(headwater, image, path),
    readiness: async () => (await (await fetch(`${headwater.adminUrl}/readyz`)).text()).trim(),
    async close() {
      await invariants.stop()
      await end(headwater)
      await redisPort.close()
      await s3.close()
      for (const one of [upstream, bystander]) await one.close()
    },
  }
}

/** The manifest by its tag, then its blobs: each right and whole. Gives the slowest answer's time. */
export async function pullImage(
  get: (path: string) => Promise<Asked>,
  { manifest, layers, config }: SampleImage,
): Promise<number> {
  const times: number[] = []
  const paths = ['manifests/v1', ...[...layers, config].map(({ digest }) => `blobs/${digest}`)]
  const wanted = [manifest.digest, ...[...layers, config].map(({ digest }) => digest)]
  for (const [at, path] of paths.entries()) {
    const { status, cut, headers, ms } = await get(path)
    const digest = headers['docker-content-digest']
    expect({ path, status, cut, digest }).toEqual({ path, status: 200, cut: false, digest: wanted[at] })
    times.push(ms)
  }
  return Math.max(...times)
}

/** I1 of the bucket. */
function expectHashes({ objects }: FakeS3): void {
  for (const [key, bytes] of objects) {
    const [, algorithm, hex] = /^blobs\/(sha256|sha512)\/..\/([a-f0-9]+)$/.exec(key) ?? []
    if (algorithm !== undefined) expect(createHash(algorithm).update(bytes).digest('hex'), 'I1').toBe(hex)
  }
}
