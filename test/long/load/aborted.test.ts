import { expect, it } from 'vitest'
import { abortPulls } from '../../rig/load/aborted.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'

it('ten thousand aborted pulls leave nothing open, nothing in memory and no file behind', async () => {
  const { descriptors, heap, temporaryFiles, aborted } = await abortPulls({
    first: isShort ? 500 : 1000,
    all: isShort ? 2000 : 10_000,
  })
  expect(temporaryFiles).toEqual([])
  expect(descriptors.after).toBe(descriptors.before)
  expect(heap.atEnd).toBeLessThan(heap.afterFirst * 1.1)
  if (isShort) return
  const mib = (bytes: number) => (bytes / 1024 ** 2).toFixed(1)
  writeMeasurement('aborted-pulls', [
    '| | after 1,000 | after 10,000 | goal |',
    '|---|---|---|---|',
    `| heap in use after a garbage collection, MiB | ${mib(heap.afterFirst)} | ${mib(heap.atEnd)} | at most 10 % more |`,
    `| open descriptors (${descriptors.before} at the start) | | ${descriptors.after} | as at the start |`,
    `| temporary files | | ${temporaryFiles.length} | none |`,
    '',
    `${aborted} answers were cut short by their client; the others had left before there was one, or had it all.`,
  ])
})
