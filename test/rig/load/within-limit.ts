import { readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { returnsTo, startHeadwater } from '../headwater.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startUpstreamProcess } from '../start-upstream-process.ts'
import { closing } from './closing.ts'
import { measuredFolder, watchHighest } from './disk-use.ts'
import { blobGet, imagePull } from './plans.ts'
import { repeat, startClients } from './start-clients.ts'

/** Pulls several times what the cache may hold while one slow client reads a blob that was used before all others. */
export async function pullBeyondLimit(load: {
  readonly limitBytes: number
  readonly layerBytes: number
  readonly images: number
  /** Of the blob that is read slowly: far more than the sockets hold. */
  readonly slowLayerBytes: number
  readonly slowBytesPerSecond: number
}) {
  const layers = [load.layerBytes, load.layerBytes]
  const images = repeat(load.images, (index) => ({
    repository: 'a',
    tag: `t${index}`,
    layers: index === 0 ? [load.slowLayerBytes] : layers,
    seed: index + 1,
  }))
  await using upstream = closing(await startUpstreamProcess({ images }))
  const resources = [...upstreamResources('u', { url: upstream.it.url }), registryResource('r', ['u'])]
  const args = ['--data-max-bytes', String(load.limitBytes)]
  await using folder = await measuredFolder((4 * load.limitBytes) / 1024 ** 2)
  const headwater = await startHeadwater({ resources, args, data: join(folder.path, 'data') })
  await using _headwater = closing({ close: headwater.stop })
  await using clients = closing(startClients())
  await using slowClient = closing(startClients())
  const prefix = '/v2/default/r'
  const [read, ...others] = upstream.it.images as [
    (typeof upstream.it.images)[number],
    ...(typeof upstream.it.images)[number][],
  ]
  const layer = read.layers[0]!
  const file = join(headwater.data, 'blobs', blobKey(layer.digest))

  await clients.it.pull(headwater.url, [imagePull(prefix, read)])
  const use = watchHighest(folder.use)
  const how = { bytesPerSecond: load.slowBytesPerSecond }
  const slow = slowClient.it
    .pull(headwater.url, [{ rest: [blobGet(prefix, 'a', layer, how)], lanes: 1 }])
    .catch(() => undefined) // it is sent away when the others are done
  const evictedWhileRead = watchHighest(async () => {
    const held = await openFiles(headwater.pid)
    return held.filter((name) => name === `${file} (deleted)`).length
  })
  const plans = repeat(8, (client) => ({
    rest: others
      .filter((_, index) => index % 4 === client % 4)
      .flatMap(({ layers }) => layers.map((one) => blobGet(prefix, 'a', one))),
    lanes: 2,
  }))
  await clients.it.pull(headwater.url, plans)
  const stillRead = (await openFiles(headwater.pid)).includes(file)
  await slowClient.it.close()
  await slow
  await returnsTo(0, async () => (await headwater.temporaryFiles()).length)
  return {
    highestUse: await use.stop(),
    evictedBytes: await headwater.metric('headwater_evicted_bytes_total'),
    stillRead,
    evictedWhileRead: (await evictedWhileRead.stop()) > 0,
  }
}

/** Those of a process, as the system names them. */
async function openFiles(pid: number): Promise<string[]> {
  const descriptors = await readdir(`/proc/${pid}/fd`)
  return Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
}
