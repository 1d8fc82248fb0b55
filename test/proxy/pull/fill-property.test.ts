import fc from 'fast-check'
import { expect, it } from 'vitest'
import { blobOf, createRig, drink, flipped, type Stretch, scripted, withRoomFor } from './fill-rig.ts'

const size = 40_000
const positions = fc.oneof(
  fc.constant(size),
  fc.constantFrom(0, 1, size / 2, size - 1, size),
  fc.integer({ min: 0, max: size }),
)
const chunks = fc.array(fc.constantFrom(1, 50, 1000, 4096, 16_384, size), { minLength: 1, maxLength: 5 })
const ending = fc.constantFrom('end', 'error', 'close')

const seldom = <T>(some: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 9, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: some })

const stretches = fc.array(
  fc.record({
    until: positions,
    ending,
    chunks,
    fromStart: fc.boolean(),
    corrupt: seldom(positions),
  }),
  { minLength: 1, maxLength: 6 },
)
const readers = fc.array(
  fc.record({
    start: positions,
    bufferBytes: fc.constantFrom(1, 100, 5000, 65_536).map((bytes) => Math.max(bytes, 97)),
    leavesAt: seldom(positions),
    comesAfterMs: fc.integer({ min: 0, max: 4 }),
  }),
  { minLength: 1, maxLength: 5 },
)

it('gives a reader exactly the bytes, or an error before the last one, whatever source, store and readers do', async () => {
  const rigs = new Map<number, ReturnType<typeof createRig>>()
  const rigFor = (room: number) => {
    const limits = { windowBytes: 8192, leastWindowBytes: 8192, pauseMs: 0 }
    const rig = rigs.get(room) ?? createRig({ limits, wrap: withRoomFor(room < 0 ? undefined : room) })
    rigs.set(room, rig)
    return rig
  }
  const seen = { whole: 0, cut: 0 }

  await fc.assert(
    fc.asyncProperty(
      stretches,
      readers,
      fc.constantFrom(size, size, size, size / 2, 0, -1),
      fc.constantFrom('source', 'descriptor', 'nobody'),
      fc.boolean(),
      async (script, schedules, room, whoKnows, endsByClose) => {
        const rig = await rigFor(room)
        const blob = blobOf(size)
        const source = scripted(
          blob.bytes,
          script.map(({ corrupt, ...stretch }) => ({
            ...stretch,
            ...(corrupt === null ? {} : { bytes: flipped(blob.bytes, Math.min(corrupt, size - 1)) }),
          })) as Stretch[],
          { says: whoKnows === 'source' ? size : undefined, endsByClose },
        )
        const asked = { digest: blob.digest, size: whoKnows === 'descriptor' ? size : undefined }
        const fill = await rig.begin(source, asked)
        await Promise.all(
          schedules.map(async ({ start, bufferBytes, leavesAt, comesAfterMs }) => {
            if (comesAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, comesAfterMs))
            const body = fill.openBody()
            if (leavesAt !== null) setTimeout(() => body.close(), leavesAt / 10_000)
            const { bytes, error } = await drink(body, { start, bufferBytes })
            if (error === undefined) {
              seen.whole++
              expect(bytes.equals(blob.bytes.subarray(start))).toBe(true)
            } else {
              seen.cut++
              expect(bytes.length).toBeLessThan(Math.max(1, size - start))
            }
          }),
        )
        const stored = await fill.done
        const stat = await rig.blobs.stat(blob.digest)
        expect(stat?.size).toBe(stored ? size : undefined)
        if (stat !== undefined) {
          const kept = await rig.blobs.open(blob.digest)
          const bytes = Buffer.alloc(size)
          for (let at = 0; at < size; ) at += await kept!.read(bytes.subarray(at), at)
          await kept!.close()
          expect(bytes.equals(blob.bytes)).toBe(true)
        }
        expect(source.starts.length).toBeLessThanOrEqual(6 * (1 + schedules.length))
      },
    ),
    { numRuns: 80 },
  )
  for (const rig of rigs.values()) {
    expect((await rig).fills.inProgress).toBe(0)
    expect((await (await rig).files()).every((name) => /^[a-f0-9]{64}$/.test(name))).toBe(true)
  }
  // both happen, or the test shows nothing
  expect(Math.min(seen.whole, seen.cut)).toBeGreaterThan(20)
}, 60_000)
