import { expect, it } from 'vitest'
import { pullBeyondLimit } from '../../rig/load/within-limit.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const mib = 1024 * 1024

it('the folder never takes more than --data-max-bytes, and what is being read stays', async () => {
  const limitBytes = (isShort ? 256 : 1024) * mib
  const layerBytes = (isShort ? 16 : 64) * mib
  const images = 40
  const slowLayerBytes = 64 * mib
  const slowBytesPerSecond = 0.5e6
  const load = { limitBytes, layerBytes, images, slowLayerBytes, slowBytesPerSecond }
  const result = await pullBeyondLimit(load)
  expect(result.highestUse).toBeLessThanOrEqual(limitBytes)
  expect(result.evictedBytes).toBeGreaterThan(limitBytes)
  expect(result.stillRead).toBe(true)
  expect(result.evictedWhileRead).toBe(false)
  if (isShort) return
  writeMeasurement('disk-limit', [
    `${images * 2} blobs of ${layerBytes / mib} MiB through a cache of ${limitBytes / mib} MiB:`,
    '',
    '| | MiB |',
    '|---|---|',
    `| most it ever took of the disk | ${(result.highestUse / mib).toFixed(1)} |`,
    `| evicted | ${(result.evictedBytes / mib).toFixed(1)} |`,
  ])
})
