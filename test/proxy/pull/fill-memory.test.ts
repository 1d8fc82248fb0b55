import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobOf, createRig, drink, heldBuffers, scripted, until } from './fill-rig.ts'

const MiB = 1024 ** 2

it('holds nothing in memory of what is stored, however long it is read', async () => {
  const rig = await createRig()
  const all = blobOf(40 * MiB).bytes
  const before = heldBuffers()
  const bodies = []
  for (let i = 0; i < 10; i++) {
    const bytes = all.subarray(i * 4 * MiB, (i + 1) * 4 * MiB)
    const fill = await rig.begin(scripted(bytes, [{ chunkBytes: MiB }]), { digest: digestOf(bytes) })
    bodies.push(fill.openBody())
    expect(await fill.done).toBe(true)
  }
  await until(() => heldBuffers() - before < 8 * MiB)
  for (const body of bodies) body.close()
})

it('shares a bounded memory among any number of fills, and gets it back', async () => {
  const limits = { windowBytesInAll: 16 * MiB, leastWindowBytes: 64 * 1024, orphans: 0 }
  const rig = await createRig({ limits })
  const held = countBuffers()
  for (let round = 0; round < 3; round++) {
    const stalled = Array.from({ length: 60 }, async () => {
      const script = scripted(Buffer.alloc(1000), [{ until: 999, ending: 'stall' }], { says: undefined })
      const fill = await rig.begin(script, { digest: blobOf(10).digest })
      const body = fill.openBody()
      const reading = drink(body, { bufferBytes: 1000 })
      await until(() => script.sent === 999)
      return { body, fill, reading }
    })
    const fills = await Promise.all(stalled)
    expect(held()).toBeGreaterThan(12 * MiB)
    expect(held()).toBeLessThan(21 * MiB)
    for (const { body } of fills) body.close()
    for (const { fill, reading } of fills) {
      expect(await fill.done).toBe(false)
      await reading
    }
    await until(() => held() < 2 * MiB)
  }
})

/** Bytes of the buffers of their own memory that were made since and can be reached: none that others left counts. */
function countBuffers(): () => number {
  const made: WeakRef<ArrayBufferLike>[] = []
  const make = Buffer.allocUnsafeSlow
  Buffer.allocUnsafeSlow = (size) => {
    const buffer = make(size)
    made.push(new WeakRef(buffer.buffer))
    return buffer
  }
  onTestFinished(() => {
    Buffer.allocUnsafeSlow = make
  })
  return () => {
    heldBuffers() // for its collection
    return made.reduce((sum, memory) => sum + (memory.deref()?.byteLength ?? 0), 0)
  }
}
