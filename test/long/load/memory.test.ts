import { expect, it } from 'vitest'
import { measureMemory } from '../../rig/load/memory.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const mib = 1024 * 1024

it('P8: a hundred clients of large blobs, half of them slow, need less than 350 MiB', async () => {
  const { cold, hit } = await measureMemory({
    clients: 100,
    blobs: 2,
    blobBytes: (isShort ? 256 : 1024) * mib,
    slowBytesPerSecond: 24e6,
  })
  expect(cold).toBeLessThan(350 * mib)
  expect(hit).toBeLessThan(350 * mib)
  if (isShort) return
  writeMeasurement('memory', [
    'A hundred clients pull two blobs of 1 GiB, every second one at 24 MB/s: first while they are filled, then as hits.',
    '',
    '| highest resident memory (VmHWM), MiB | | goal |',
    '|---|---|---|',
    `| after the fills | ${Math.round(cold / mib)} | under 350 |`,
    `| after the hits, too | ${Math.round(hit / mib)} | under 350 |`,
  ])
})
