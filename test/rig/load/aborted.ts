import { type Headwater, returnsTo, startHeadwater } from '../headwater.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startUpstreamProcess } from '../start-upstream-process.ts'
import type { ClientPlan } from './client-process.ts'
import { closing } from './closing.ts'
import { heapAfterCollection, inspectable } from './inspector.ts'
import { blobGet } from './plans.ts'
import { repeat, startClients } from './start-clients.ts'

export interface AfterAborts {
  readonly descriptors: { readonly before: number; readonly after: number }
  readonly heap: { readonly afterFirst: number; readonly atEnd: number }
  readonly temporaryFiles: readonly string[]
  readonly aborted: number
}

/**
 * Pulls that their clients leave, at once or on the way: of blobs in memory, on disk, and of ever so many that fit no
 * longer into the cache, so that they are filled again and again.
 */
export async function abortPulls({ first, all }: { first: number; all: number }): Promise<AfterAborts> {
  const mib = 1024 * 1024
  const layers = [500_000, 8 * mib, ...repeat(60, () => 2 * mib)]
  const images = [{ repository: 'a', tag: 'one', layers }]
  const bytesPerSecond = 100e6
  await using upstream = closing(await startUpstreamProcess({ images, bytesPerSecond }))
  const resources = [...upstreamResources('u', { url: upstream.it.url }), registryResource('r', ['u'])]
  const headwater = await startHeadwater({
    resources,
    args: ['--data-max-bytes', '64Mi'],
    env: inspectable,
  })
  await using _headwater = closing({ close: headwater.stop })
  await using clients = closing(startClients())
  const blobs = upstream.it.images[0]!.layers

  const plansOf = (count: number): ClientPlan[] =>
    repeat(100, (client) => ({
      rest: repeat(Math.ceil(count / 100), (index) => {
        const turn = client + index * 7
        const blob = blobs[turn % 4 === 0 ? turn % 2 : turn % blobs.length]!
        const leaveAfter = [0, 1, 100_000, Math.floor(blob.size / 2)][turn % 3 === 0 ? 0 : turn % 4]!
        return blobGet('/v2/default/r', 'a', blob, { leaveAfter })
      }),
      lanes: 1,
    }))

  const before = await settledDescriptors(headwater)
  await clients.it.pull(headwater.url, plansOf(first))
  await quiet(headwater)
  const afterFirst = await heapAfterCollection(headwater)
  await clients.it.pull(headwater.url, plansOf(all - first))
  await quiet(headwater)
  const atEnd = await heapAfterCollection(headwater)
  // connections to the upstream are kept for a while
  await returnsTo(before, () => headwater.openDescriptors(), 60_000).catch(() => undefined)
  return {
    descriptors: { before, after: await headwater.openDescriptors() },
    heap: { afterFirst, atEnd },
    temporaryFiles: await headwater.temporaryFiles(),
    aborted: await headwater.metric('headwater_requests_total', { outcome: 'aborted' }),
  }
}

/** The inspector and the first scrape open what they keep. */
async function settledDescriptors(headwater: Headwater): Promise<number> {
  await heapAfterCollection(headwater)
  await headwater.metrics()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  return headwater.openDescriptors()
}

async function quiet(headwater: Headwater): Promise<void> {
  await returnsTo(0, () => headwater.metric('headwater_fills_in_progress'), 120_000)
}
