import { describe, expect, it } from 'vitest'
import { abortPulls } from '../../rig/load/aborted.ts'
import { measureColdPull } from '../../rig/load/cold-pull.ts'
import { measureMemory } from '../../rig/load/memory.ts'
import { pullBeyondLimit } from '../../rig/load/within-limit.ts'

const mib = 1024 * 1024

/** What test/long/load measures in full, small enough to be run each time; nothing here judges how long it took. */
describe('under load', () => {
  it('twenty clients that pull the same cold image cost the upstream one transfer', async () => {
    const layers = [5 * mib, 5 * mib, 5 * mib, 5 * mib]
    const load = { clients: 20, hashing: 5, layers, latencyMs: 30, bytesPerSecond: 50e6 }
    expect((await measureColdPull(load)).upstreamShare).toBeLessThanOrEqual(1.01)
  })

  it('a hundred clients of large blobs, half of them slow, stay within bounded memory', async () => {
    const blobBytes = 32 * mib
    const { cold, hit } = await measureMemory({ clients: 100, blobs: 2, blobBytes, slowBytesPerSecond: 12e6 })
    expect(cold).toBeLessThan(350 * mib)
    expect(hit).toBeLessThan(350 * mib)
  })

  it('aborted pulls leave nothing open, nothing in memory and no file behind', async () => {
    const { descriptors, heap, temporaryFiles } = await abortPulls({ first: 200, all: 500 })
    expect(temporaryFiles).toEqual([])
    expect(descriptors.after).toBe(descriptors.before)
    expect(heap.atEnd).toBeLessThan(heap.afterFirst * 1.1)
  })

  it('the folder never takes more than --data-max-bytes, and what is being read stays', async () => {
    const limitBytes = 40 * mib
    const slow = { slowLayerBytes: 16 * mib, slowBytesPerSecond: 0.2e6 }
    const load = { limitBytes, layerBytes: 2 * mib, images: 50, ...slow }
    const result = await pullBeyondLimit(load)
    expect(result.highestUse).toBeLessThanOrEqual(limitBytes)
    expect(result.evictedBytes).toBeGreaterThan(limitBytes)
    expect(result.stillRead).toBe(true)
    expect(result.evictedWhileRead).toBe(false)
  })
})
