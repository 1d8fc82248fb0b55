import { join } from 'node:path'
import { type Measurable, measure, warm } from './measure.ts'
import type { ReplicaCase } from './replica-cases.ts'
import { formatRatio, formatSpeed, type Results, ratiosOf, speedOf } from './report.ts'
import { startHeadwater } from './servers.ts'
import { type Shared, startReplicas } from './shared-servers.ts'
import { spreadOf } from './statistics.ts'

export interface PairedExtent {
  readonly starts: number
  readonly rounds: number
  readonly seconds: number
}

/**
 * The cases with one replica beside embedded stores, both started anew each time: two processes of the very same program
 * differ by a fifth for as long as they live, as the order has it in which their code was compiled.
 */
export async function measurePaired(
  cases: readonly ReplicaCase[],
  setting: Shared,
  extent: PairedExtent,
): Promise<string[]> {
  const all = new Map<ReplicaCase, Results[]>(cases.map((kase) => [kase, []]))
  for (let start = 1; start <= extent.starts; start++) {
    const folder = join(setting.folder, `pair-${start}`)
    const replicas = await startReplicas({ ...setting, folder }, [[]])
    const embedded = setting.started(await startHeadwater(join(folder, 'embedded'), setting.upstreamUrl))
    const servers: Measurable = { embedded: [embedded], one: replicas }
    await warm(cases, servers)
    for (const kase of cases)
      all.get(kase)!.push(await measure(kase, servers, { ...extent, warmUpSeconds: 6 }))
    for (const server of [embedded, ...replicas]) await server.stop()
  }
  return formatPaired(all, extent)
}

function formatPaired(
  measured: ReadonlyMap<ReplicaCase, readonly Results[]>,
  { starts, rounds, seconds }: PairedExtent,
): string[] {
  const rows = [...measured].map(([kase, results]) => {
    const [goal] = kase.goals
    const speeds = kase.subjects.map(({ name }) => {
      const runs = results.flatMap((one) => one.get(name) ?? [])
      return formatSpeed(kase, spreadOf(runs.map((run) => speedOf(kase, run))))
    })
    const ratios = results.map((one) => ratiosOf(kase, one, goal!))
    const ofStarts = ratios.map((one) => spreadOf(one).median.toFixed(2)).join(', ')
    return `| ${kase.name} | ${speeds.join(' | ')} | ${ofStarts} ${formatRatio(goal!, ratios.flat())}`
  })
  return [
    '### One replica beside embedded stores',
    '',
    `${starts} times both were started anew and took turns for ${rounds} rounds of ${seconds} seconds each.`,
    '',
    '| | embedded stores: requests/s or GB/s | one replica | ratio: median of each start | of all rounds | least to most | goal |',
    '|---|---|---|---|---|---|---|',
    ...rows,
  ]
}
