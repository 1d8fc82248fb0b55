import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { BusyError, UpstreamError } from '../../../proxy/upstream/errors.ts'
import {
  type Asked,
  blobOf,
  createRig,
  type Drunk,
  drink,
  flipped,
  type Rig,
  type Script,
  type Stretch,
  scripted,
  until,
} from './fill-rig.ts'

const size = 200_000
const slowest = 3

/** Fifty readers, and one that comes when all has failed. */
async function drinkAll(rig: Rig, script: Script, asked: Asked) {
  const fill = await rig.begin(script, asked)
  const drunk = await Promise.all(
    Array.from({ length: 50 }, (_, i) =>
      drink(fill.openBody(), { bufferBytes: 10_000 * (i + 1), pauseMs: i % slowest }),
    ),
  )
  if (drunk[0]?.error !== undefined) drunk.push(await drink(fill.openBody()))
  return { drunk, stored: await fill.done }
}

/** What the client must never see, whoever it is: the last byte, or an end. */
function expectCut(drunk: readonly Drunk[], kind: string): void {
  for (const { bytes, error } of drunk) {
    expect(bytes.length).toBeLessThan(size)
    expect(error).toMatchObject({ kind })
  }
  expect(new Set(drunk.map(({ error }) => error)).size).toBe(1)
}

describe('wrong bytes', () => {
  it.each([
    ['first', 0, true],
    ['middle', size / 2, true],
    ['last', size - 1, true],
    ['first', 0, false],
    ['middle', size / 2, false],
    ['last', size - 1, false],
  ])('in the %s place never reach their end, size told: %s %s', async (_, at, told) => {
    const rig = await createRig()
    const blob = blobOf(size)
    const script = scripted(flipped(blob.bytes, at), [{}], told ? {} : { says: undefined })
    const { drunk, stored } = await drinkAll(rig, script, { digest: blob.digest })
    expectCut(drunk, 'invalid-response')
    expect(stored).toBe(false)
    expect(script.starts).toEqual([0])
    expect(await rig.files()).toEqual([])
    expect(rig.events).toEqual(['started upstream', 'mismatch default/hub', 'ended upstream failed'])
    // healed, the next one has all
    const healed = await drinkAll(rig, scripted(blob.bytes), blob)
    expect(healed.stored).toBe(true)
    expect(healed.drunk.every(({ bytes }) => bytes.equals(blob.bytes))).toBe(true)
  })

  it('of a single chunk reach nobody at all', async () => {
    const rig = await createRig()
    const blob = blobOf(100)
    const script = scripted(flipped(blob.bytes, 5), [{ chunkBytes: 100 }], { says: undefined })
    const fill = await rig.begin(script, { digest: blob.digest })
    expect((await drink(fill.openBody())).bytes).toHaveLength(0)
  })

  it.each([true, false])('that are too many never reach their end, size told: %s', async (told) => {
    const rig = await createRig({ limits: { unknownSize: size } })
    const blob = blobOf(size)
    const longer = Buffer.concat([blob.bytes, Buffer.from('x')])
    const script = scripted(longer, [{}], { says: undefined })
    const { drunk } = await drinkAll(rig, script, { digest: blob.digest, size: told ? size : undefined })
    expectCut(drunk, 'invalid-response')
    expect(await rig.files()).toEqual([])
  })

  it('without an end are cut at the limit', async () => {
    const rig = await createRig({ limits: { unknownSize: 10_000 } })
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ chunkBytes: 1000 }], { says: undefined })
    const fill = await rig.begin(script, { digest: blob.digest })
    expect((await drink(fill.openBody())).error).toMatchObject({ kind: 'invalid-response' })
    await until(() => script.openBodies === 0)
  })

  it('are refused before their first where the size contradicts the descriptor', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{}], { says: size + 1 })
    await expect(rig.begin(script, blob)).rejects.toMatchObject({ kind: 'invalid-response' })
    await until(() => script.openBodies === 0)
    expect(rig.fills.running('https://hub', blob.digest)).toBeUndefined()
  })

  it('are refused where the first answer does not begin at 0', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const { source } = scripted(blob.bytes)
    const first = await source.open(10, new AbortController().signal)
    const request = { origin: 'o', ...blob, first, source, afterCommit: async () => {} }
    expect(() => rig.fills.start(request)).toThrow(UpstreamError)
  })
})

describe('a cut source', () => {
  const cuts = [0, 1, size / 2, size - 1]
  const endings = ['error', 'close', 'end'] as const
  const rows = cuts.flatMap((at) =>
    endings.flatMap((ending) => [true, false].map((fromStart) => ({ at, ending, fromStart }))),
  )

  it.each(rows)(
    'at $at by $ending is taken up again, with 200: $fromStart',
    async ({ at, ending, fromStart }) => {
      const rig = await createRig()
      const blob = blobOf(size)
      const script = scripted(blob.bytes, [{ until: at, ending }, { fromStart }])
      const { drunk, stored } = await drinkAll(rig, script, blob)
      expect(drunk.every(({ bytes, error }) => error === undefined && bytes.equals(blob.bytes))).toBe(true)
      expect(stored).toBe(true)
      expect(script.starts).toEqual([0, at])
      expect(rig.events).toContain('resumed default/hub')
    },
  )

  it.each(cuts.flatMap((at) => (['error', 'close'] as const).map((ending) => ({ at, ending }))))(
    'at $at by $ending is taken up again when nobody knows the size',
    async ({ at, ending }) => {
      const rig = await createRig()
      const blob = blobOf(size)
      const script = scripted(blob.bytes, [{ until: at, ending }, {}], { says: undefined })
      const { drunk, stored } = await drinkAll(rig, script, { digest: blob.digest })
      expect(drunk.every(({ bytes }) => bytes.equals(blob.bytes))).toBe(true)
      expect(stored).toBe(true)
    },
  )

  it.each(cuts)(
    'at %s by a close that looks like the end proves nothing, and is taken up again',
    async (at) => {
      const rig = await createRig()
      const blob = blobOf(size)
      const script = scripted(blob.bytes, [{ until: at }, {}], { says: undefined, endsByClose: true })
      const { drunk, stored } = await drinkAll(rig, script, { digest: blob.digest })
      expect(drunk.every(({ bytes }) => bytes.equals(blob.bytes))).toBe(true)
      expect(stored).toBe(true)
    },
  )

  it.each(cuts)('at %s with the clean end of a body of unknown size has sent wrong bytes', async (at) => {
    const rig = await createRig()
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ until: at }], { says: undefined })
    const { drunk } = await drinkAll(rig, script, { digest: blob.digest })
    expectCut(drunk, 'invalid-response')
    expect(script.starts).toEqual([0])
  })

  it('is opened five times more at most, and then cuts every reader with the same error', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const script = scripted(
      blob.bytes,
      [0, 1, 2, 3, 4, 5].map((i) => ({ until: 10 + i, ending: 'error' as const })),
    )
    const { drunk, stored } = await drinkAll(rig, script, blob)
    expectCut(drunk, 'unavailable')
    expect(script.starts).toEqual([0, 10, 11, 12, 13, 14])
    expect(stored).toBe(false)
    expect(await rig.files()).toEqual([])
  })

  it('waits longer from one attempt to the next when nothing comes of them', async () => {
    const rig = await createRig({ limits: { pauseMs: 10 } })
    const blob = blobOf(size)
    const refuse = new UpstreamError('unavailable', 'refused')
    const script = scripted(blob.bytes, [{ until: 1000, ending: 'error' }, { refuse }])
    const startedAt = performance.now()
    const { drunk } = await drinkAll(rig, script, blob)
    expectCut(drunk, 'unavailable')
    expect(script.starts).toHaveLength(6)
    expect(performance.now() - startedAt).toBeGreaterThan(10 + 20 + 40 + 80 + 160 - 10)
  })

  it.each(['rate-limited', 'credentials-refused', 'invalid-response', 'blocked'] as const)(
    'is not asked again once it says %s',
    async (kind) => {
      const rig = await createRig()
      const blob = blobOf(size)
      const refuse = new UpstreamError(kind, 'no')
      const script = scripted(blob.bytes, [{ until: 1000, ending: 'error' }, { refuse }])
      const { drunk } = await drinkAll(rig, script, blob)
      expectCut(drunk, kind)
      expect(script.starts).toHaveLength(2)
    },
  )

  it('is asked again while it has no place for another blob', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const refuse = new BusyError('2 blobs of it are under way already')
    const script = scripted(blob.bytes, [{ until: 1000, ending: 'error' }, { refuse }, { refuse }, {}])
    const { drunk, stored } = await drinkAll(rig, script, blob)
    for (const { bytes, error } of drunk) expect([bytes.equals(blob.bytes), error]).toEqual([true, undefined])
    expect(stored).toBe(true)
    expect(script.starts).toEqual([0, 1000, 1000, 1000])
  })

  it('is another blob when its size is another', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const { source } = scripted(blob.bytes, [{ until: 1000, ending: 'error' }])
    const other = scripted(blobOf(size + 1).bytes, [{}])
    const first = await source.open(0, new AbortController().signal)
    const fill = rig.fills.start({
      origin: 'o',
      ...blob,
      first,
      source: other.source,
      afterCommit: async () => {},
    })
    expect((await drink(fill.openBody())).error).toMatchObject({ kind: 'invalid-response' })
    await until(() => other.openBodies === 0)
  })

  it('that was cut behind its last byte was whole', async () => {
    const rig = await createRig()
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ until: size, ending: 'error' }], { says: undefined })
    const { stored } = await drinkAll(rig, script, { digest: blob.digest })
    expect(stored).toBe(true)
    expect(script.starts).toEqual([0])
  })

  it.each([
    ['times out', { until: size / 2, ending: 'error', error: new UpstreamError('timeout', 'idle') }],
    ['stalls', { until: size / 2, ending: 'stall' }],
    ['trickles', { chunkBytes: 1, before: () => pause(2) }],
  ] as [string, Stretch][])('that %s half-way is taken up again', async (_, stretch) => {
    const rig = await createRig({ limits: { slowBytes: 1000, slowMs: 30 } })
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [stretch, {}])
    const { drunk } = await drinkAll(rig, script, blob)
    expect(drunk.every(({ bytes }) => bytes.equals(blob.bytes))).toBe(true)
    expect(script.starts).toHaveLength(2)
  })

  it('that always trickles ends in a timeout for all', async () => {
    const rig = await createRig({ limits: { slowBytes: 1000, slowMs: 20 } })
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ chunkBytes: 1, before: () => pause(2) }])
    const { drunk } = await drinkAll(rig, script, blob)
    expectCut(drunk, 'timeout')
    expect(script.starts).toHaveLength(6)
    await until(() => script.openBodies === 0)
  })
})
