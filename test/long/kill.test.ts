import { expect, it } from 'vitest'
import { killLoop } from '../rig/kill-loop.ts'
import { writeMeasurement } from './measurement.ts'

it('kill -9 at a hundred random moments of pulls leaves nothing wrong behind, and the next pull works', async () => {
  const { kills, duringFills, findings, failures } = await killLoop(100)
  writeMeasurement('kill-loop', [
    '| kills | while pulls ran | findings of scrub | pulls that failed after the restart |',
    '|---|---|---|---|',
    `| ${kills} | ${duringFills} | ${findings.length} | ${failures.length} |`,
  ])
  expect(findings).toEqual([])
  expect(failures).toEqual([])
  expect(duringFills).toBeGreaterThan(kills / 10)
})
