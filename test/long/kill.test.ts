import { expect, it } from 'vitest'
import { killLoop } from '../rig/kill-loop.ts'
import { writeMeasurement } from './measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'

it('kill -9 at random moments of pulls leaves nothing wrong behind, and the next pull works', async () => {
  const { kills, duringFills, findings, failures } = await killLoop(isShort ? 10 : 100)
  expect(findings).toEqual([])
  expect(failures).toEqual([])
  expect(duringFills).toBeGreaterThan(kills / 10)
  if (isShort) return
  writeMeasurement('kill-loop', [
    '| kills | while pulls ran | findings of scrub | pulls that failed after the restart |',
    '|---|---|---|---|',
    `| ${kills} | ${duringFills} | ${findings.length} | ${failures.length} |`,
  ])
})
