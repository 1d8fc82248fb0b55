import { expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Held, soak } from '../../rig/load/soak.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const ms = isShort ? 15_000 : 20 * 60_000
const mib = 1024 * 1024

/** Of one part of the time. The first, which warms up, is not looked at. */
function medians(samples: readonly Held[]): Held {
  const middle = (name: keyof Held) => {
    const sorted = samples.map((one) => one[name]).sort((a, b) => a - b)
    return sorted[Math.floor(sorted.length / 2)]!
  }
  return {
    seconds: middle('seconds'),
    heap: middle('heap'),
    resident: middle('resident'),
    descriptors: middle('descriptors'),
  }
}

describeWithParts(['redis-server', 'versitygw'], 'a replica under everything at once', () => {
  it('P16: holds no more memory and no more descriptors in the last third of it than in the second', async () => {
    const { samples, requests, filled } = await soak({ ms, pauseMs: isShort ? 0 : 1_000 })
    const third = Math.floor(samples.length / 3)
    const before = medians(samples.slice(third, 2 * third))
    const after = medians(samples.slice(2 * third))
    console.info({ rounds: samples.length, requests, filled, before, after })
    expect(filled).toBeGreaterThan(samples.length / 2)
    expect(after.heap).toBeLessThan(before.heap * 1.03 + mib)
    // pages that a collector keeps because nobody pressed it come and go
    expect(after.resident).toBeLessThan(before.resident * (isShort ? 1.5 : 1.15))
    expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + 10)
    if (isShort) return
    const row = ({ seconds, heap, resident, descriptors }: Held) =>
      `| ${Math.round(seconds)} | ${(heap / mib).toFixed(1)} | ${Math.round(resident / mib)} | ${descriptors} |`
    const tenth = Math.max(1, Math.floor(samples.length / 10))
    writeMeasurement('soak', [
      `${requests} requests in ${samples.length} rounds, ${filled} fills, ${ms / 60_000} minutes, of one replica over Redis and S3.`,
      '',
      '| after s | heap after a garbage collection, MiB | resident, MiB | descriptors |',
      '|---|---|---|---|',
      ...samples.filter((_, at) => at % tenth === tenth - 1).map(row),
    ])
  })
})
