import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { ask } from '../asking.ts'
import { createFakeUpstream } from '../fake-upstream.ts'
import { type Headwater, residentMemory, returnsTo, startHeadwater } from '../headwater.ts'
import { contentStore } from '../image-store.ts'
import { pushImage, type SampleImage } from '../images.ts'
import { watchInvariants } from '../invariants.ts'
import { startRedis } from '../redis.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startS3 } from '../s3-server.ts'
import type { ClientPlan } from './client-process.ts'
import { closing } from './closing.ts'
import { heapAfterCollection, inspectable } from './inspector.ts'
import { blobGet, imagePull } from './plans.ts'
import { repeat, startClients } from './start-clients.ts'

/** What the process holds in a quiet moment between two rounds. */
export interface Held {
  readonly seconds: number
  /** In use once everything unreachable is gone. */
  readonly heap: number
  readonly resident: number
  readonly descriptors: number
}

export interface Soaked {
  readonly samples: readonly Held[]
  readonly requests: number
  readonly filled: number
}

const mib = 1024 * 1024
const prefix = '/v2/default/hub'
const repositories = 12
const clientCount = 16

/**
 * One replica over Redis and S3 under all there is at once, in rounds: what it has in memory and on disk, tags that are always
 * stale, blobs that fit its disk no longer and come from S3, others that were taken out of the bucket and are filled again,
 * clients that leave, and what nobody has. I1 to I9 hold after it.
 */
export async function soak({ ms, pauseMs }: { ms: number; pauseMs: number }): Promise<Soaked> {
  await using redis = closing(await startRedis())
  await using s3 = closing(await startS3())
  await using upstream = closing(await createFakeUpstream())
  await using bystander = closing(await createFakeUpstream())
  await pushImage(contentStore(bystander.it.content), 'calm', { tag: 'v1', seed: 93 })
  const store = contentStore(upstream.it.content)
  const images: SampleImage[] = []
  for (let at = 0; at < repositories; at++) {
    const layers = [100_000, 2 * mib, 4 * mib]
    images.push(await pushImage(store, `app-${at}`, { tag: 'v1', layers, seed: at + 1, inMemory: true }))
  }
  await pushImage(store, 'later', { tag: 'v1', seed: 99, inMemory: true })
  const bucket = await s3.it.makeBucket()
  const headwater = await startHeadwater({
    resources: [
      ...upstreamResources('up', { url: upstream.it.url, policy: 'Always' }),
      ...upstreamResources('bystander', { url: bystander.it.url }),
      registryResource('hub', ['up']),
      registryResource('bystander', ['bystander']),
    ],
    args: [
      ...['--redis-url', redis.it.url, '--s3-bucket', bucket, '--s3-endpoint', s3.it.endpoint],
      ...['--spool-max-bytes', '48Mi'],
    ],
    env: { ...s3.it.credentials, ...inspectable },
  })
  await using _headwater = closing(headwater)
  await using clients = closing(startClients())

  await heapAfterCollection(headwater) // the inspector opens what it keeps
  const invariants = await watchInvariants(headwater, {
    watched: () => [{ upstream: upstream.it }, { upstream: bystander.it }],
    bystander: { path: '/v2/default/bystander', cached: 'calm/manifests/v1' },
    shared: { blobs: 'spool/blobs', connections: 60, scrub: () => {} },
  })
  invariants.begin()
  const samples: Held[] = []
  const startedAt = performance.now()
  let rounds = 0
  let requests = 0
  for (; performance.now() - startedAt < ms; rounds++) {
    const gone = images[rounds % images.length]!
    for (const { digest } of gone.layers) await rm(fileIn(s3.it.folderOf(bucket), digest), { force: true })
    const plans = plansOf(images, rounds)
    requests += plans.reduce((sum, { first, rest }) => sum + rest.length + (first ? 1 : 0), 0)
    await clients.it.pull(headwater.url, plans)
    await ask(headwater, `${prefix}/${gone.repository}/manifests/none-${rounds}`)
    samples.push(await held(headwater, startedAt))
    await sleep(pauseMs)
  }
  const filled = await headwater.metric('headwater_fills_total', { result: 'committed' })
  await invariants.expect({
    upstreams: [upstream.it],
    // each pull of a stale tag asks once; a blob that is gone, once; what is left of a client that left, once
    requestsAtMost: rounds * (2 * clientCount + 20) + 100,
    repository: 'app-0',
    digests: [images[0]!.manifest.digest],
    cold: `${prefix}/later/manifests/v1`,
  })
  await invariants.stop()
  return { samples, requests, filled }
}

/** Each client another image and other manners than in the round before. */
function plansOf(images: readonly SampleImage[], round: number): ClientPlan[] {
  return repeat(clientCount, (client) => {
    const image = images[(round + client) % images.length]!
    if (client % 4 !== 3) return imagePull(prefix, image, { hash: client % 4 === 0 })
    const rest = image.layers.flatMap((layer) =>
      [0, 1, 50_000].map((leaveAfter) => blobGet(prefix, image.repository, layer, { leaveAfter })),
    )
    return { rest, lanes: 1 }
  })
}

async function held(headwater: Headwater, startedAt: number): Promise<Held> {
  await returnsTo(0, () => headwater.metric('headwater_fills_in_progress'), 60_000)
  const heap = await heapAfterCollection(headwater)
  return {
    seconds: (performance.now() - startedAt) / 1000,
    heap,
    resident: await residentMemory(headwater.pid),
    descriptors: await headwater.openDescriptors(),
  }
}

function fileIn(folder: string, digest: string): string {
  const [algorithm = '', hex = ''] = digest.split(':')
  return join(folder, 'blobs', algorithm, hex.slice(0, 2), hex)
}
