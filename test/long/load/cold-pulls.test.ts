import { describe, expect, it } from 'vitest'
import { type Spread, spreadOf } from '../../../bench/statistics.ts'
import { type ColdPull, type ColdPullFigures, measureColdPull } from '../../rig/load/cold-pull.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const layer = 50 * 1024 * 1024
const runs = isShort ? 1 : 3

const loads: readonly [string, ColdPull][] = [
  [
    '20 clients, an image of four layers of 50 MiB, 50 MB/s a connection',
    { clients: 20, hashing: 1, layers: [layer, layer, layer, layer], latencyMs: 30, bytesPerSecond: 50e6 },
  ],
  [
    '100 clients, an image of one layer of 50 MiB, 12 MB/s a connection',
    { clients: 100, hashing: 2, layers: [layer], latencyMs: 30, bytesPerSecond: 12e6 },
  ],
]
const measured: [string, readonly ColdPullFigures[]][] = []

describe('many clients that pull the same cold image', () => {
  it.each(loads)('%s: cost one transfer, and wait hardly longer than one alone', async (name, load) => {
    const figures: ColdPullFigures[] = []
    for (let run = 0; run < runs; run++) figures.push(await measureColdPull(load))
    measured.push([name, figures])
    if (measured.length === loads.length && !isShort) writeMeasurement('cold-pulls', tableOf(measured))
    expect(median(figures, 'upstreamShare')).toBeLessThanOrEqual(1.01)
    if (isShort) return // what takes time is not to be judged while other programs run
    expect(median(figures, 'firstByteMs')).toBeLessThan(150)
    expect(median(figures, 'ratio')).toBeLessThanOrEqual(1.1)
  })
})

function median(figures: readonly ColdPullFigures[], name: keyof ColdPullFigures): number {
  return spread(figures, name).median
}

function spread(figures: readonly ColdPullFigures[], name: keyof ColdPullFigures): Spread {
  return spreadOf(figures.map((one) => one[name]))
}

function tableOf(all: readonly [string, readonly ColdPullFigures[]][]): string[] {
  const rows: [string, keyof ColdPullFigures, number, string][] = [
    ['bytes out of the upstream’s socket, of the image', 'upstreamShare', 4, 'at most 1.01'],
    ['from a blob’s request to its first byte, median, ms', 'firstByteMs', 0, 'under 150'],
    ['one client alone, cold, ms', 'singleMs', 0, ''],
    ['the last of all clients, ms', 'lastMs', 0, ''],
    ['the last of all / one alone, of each run', 'ratio', 3, 'at most 1.1'],
    ['cores that Headwater used', 'headwaterCores', 2, ''],
    ['cores that the clients used', 'loadCores', 2, ''],
  ]
  const tables = all.flatMap(([name, figures]) => [
    `## ${name}`,
    '',
    '| | median | least to most | goal |',
    '|---|---|---|---|',
    ...rows.map(([title, key, digits, goal]) => {
      const { median: middle, least, most } = spread(figures, key)
      const range = `${least.toFixed(digits)} to ${most.toFixed(digits)}`
      return `| ${title} | ${middle.toFixed(digits)} | ${range} | ${goal} |`
    }),
    '',
  ])
  return [
    `${runs} runs. Upstream, Headwater and the clients are a process each, on the same cores. The upstream has 30 ms of`,
    'latency, and once more on a new connection, and the pace said below. A client is as docker and containerd are: the',
    'manifest by tag, then configuration and layers, three at a time, over plain sockets; it throws away what it reads,',
    'and a few hash it. Each run has an empty cache, and measures one client alone on an equal image before.',
    '',
    ...tables,
  ]
}
