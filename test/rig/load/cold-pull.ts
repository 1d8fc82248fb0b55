import { spreadOf } from '../../../bench/statistics.ts'
import { startHeadwater } from '../headwater.ts'
import { registryResource, upstreamResources } from '../resources.ts'
import { startUpstreamProcess } from '../start-upstream-process.ts'
import { closing } from './closing.ts'
import { imagePull, sizeOf } from './plans.ts'
import { repeat, startClients } from './start-clients.ts'

export interface ColdPull {
  readonly clients: number
  /** How many of them hash what they get; the others count bytes. */
  readonly hashing: number
  readonly layers: readonly number[]
  readonly latencyMs: number
  /** Of each connection out of the upstream. */
  readonly bytesPerSecond: number
}

export interface ColdPullFigures {
  /** Out of the upstream's socket while all clients pulled, as a part of the image. */
  readonly upstreamShare: number
  /** From a blob's request to its first byte. */
  readonly firstByteMs: number
  /** One client alone, cold, and the last of all. */
  readonly singleMs: number
  readonly lastMs: number
  readonly ratio: number
  /** Cores: what making the load took, and Headwater. */
  readonly loadCores: number
  readonly headwaterCores: number
}

/** One run: a single cold pull of one image, and then all clients at once of another, equal one. */
export async function measureColdPull(pull: ColdPull): Promise<ColdPullFigures> {
  const { latencyMs, bytesPerSecond, layers } = pull
  const images = ['single', 'many'].map((repository, index) => ({
    ...{ repository, layers, tag: 'one' },
    seed: 100 + index,
  }))
  await using upstream = closing(await startUpstreamProcess({ latencyMs, bytesPerSecond, images }))
  const [single, many] = upstream.it.images as [
    (typeof upstream.it.images)[number],
    (typeof upstream.it.images)[number],
  ]
  const resources = [
    ...upstreamResources('slow', { url: upstream.it.url }),
    registryResource('r', ['slow'], { spec: { path: 'default/r' } }),
  ]
  const headwater = await startHeadwater({ resources })
  await using _headwater = closing({ close: headwater.stop })
  await using clients = closing(startClients())
  const prefix = '/v2/default/r'

  const alone = await clients.it.pull(headwater.url, [imagePull(prefix, single)])
  const before = await upstream.it.sent()
  const cpuBefore = await headwater.metric('process_cpu_seconds_total')
  const plans = repeat(pull.clients, (index) => imagePull(prefix, many, { hash: index < pull.hashing }))
  const together = await clients.it.pull(headwater.url, plans)
  const cpu = (await headwater.metric('process_cpu_seconds_total')) - cpuBefore
  const after = await upstream.it.sent()

  const blobs = together.got.flat().filter(({ path }) => path.includes('/blobs/'))
  const singleMs = alone.doneMs[0]!
  const lastMs = Math.max(...together.doneMs)
  return {
    upstreamShare: (after.bytesSent - before.bytesSent) / sizeOf(many),
    firstByteMs: spreadOf(blobs.map(({ firstByteMs }) => firstByteMs!)).median,
    ...{ singleMs, lastMs, ratio: lastMs / singleMs },
    loadCores: together.cores,
    headwaterCores: (cpu * 1000) / together.wallMs,
  }
}
