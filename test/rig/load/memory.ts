import { startHeadwater } from '../headwater.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startUpstreamProcess } from '../start-upstream-process.ts'
import { closing } from './closing.ts'
import { blobGet } from './plans.ts'
import { repeat, startClients } from './start-clients.ts'

/** The highest resident memory of Headwater while it fills, and after the same pulls again as hits. */
export async function measureMemory(load: {
  readonly clients: number
  readonly blobs: number
  readonly blobBytes: number
  /** Of every second client. */
  readonly slowBytesPerSecond: number
}): Promise<{ cold: number; hit: number }> {
  const images = [{ repository: 'large', tag: 'one', layers: repeat(load.blobs, () => load.blobBytes) }]
  await using upstream = closing(await startUpstreamProcess({ images }))
  const resources = [...upstreamResources('u', { url: upstream.it.url }), registryResource('r', ['u'])]
  const headwater = await startHeadwater({ resources })
  await using _headwater = closing({ close: headwater.stop })
  await using clients = closing(startClients())

  const layers = upstream.it.images[0]!.layers
  const plans = repeat(load.clients, (index) => {
    const how = index % 2 === 0 ? {} : { bytesPerSecond: load.slowBytesPerSecond }
    const layer = layers[(index >> 1) % layers.length]!
    return { rest: [blobGet('/v2/default/r', 'large', layer, how)], lanes: 1 }
  })
  await clients.it.pull(headwater.url, plans)
  const cold = await headwater.peakMemory()
  await clients.it.pull(headwater.url, plans)
  return { cold, hit: await headwater.peakMemory() }
}
