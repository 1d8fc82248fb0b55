import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'
import {
  blobOf,
  createRig,
  drink,
  flipped,
  openDescriptors,
  type Script,
  scripted,
  until,
  withRoomFor,
} from './fill-rig.ts'

const MiB = 1024 ** 2
const size = 3 * MiB

const rooms = [
  ['none', undefined],
  ['none for the first byte', 0],
  ['half', size / 2],
  ['almost enough', size - 1],
] as const

describe.each(rooms)('a fill that finds room: %s', (_, room) => {
  const rigOf = () => createRig({ limits: { windowBytes: 256 * 1024 }, wrap: withRoomFor(room) })

  it('gives every reader a transfer of its own, and keeps nothing', async () => {
    const rig = await rigOf()
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ chunkBytes: 65_536, before: () => pause(0) }])
    const before = openDescriptors()
    const fill = await rig.begin(script, blob)
    const drunk = await Promise.all(
      [{}, { bufferBytes: MiB }, { start: 2 * MiB }].map((pace) => drink(fill.openBody(), pace)),
    )
    expect(drunk.map(({ error }) => error)).toEqual([undefined, undefined, undefined])
    // with almost enough room the proof may be there before the store says no: then nobody needs another transfer
    const bytes = [blob.bytes, blob.bytes, blob.bytes.subarray(2 * MiB)]
    expect(drunk.every((one, i) => one.bytes.equals(bytes[i]!))).toBe(true)
    expect(await fill.done).toBe(false)
    expect(rig.fills.running('https://hub', blob.digest)).toBeUndefined()
    if (room === undefined) expect(script.starts).toEqual([0, 0, 0])
    await until(() => rig.fills.inProgress === 0 && script.openBodies === 0 && openDescriptors() <= before)
    expect(await rig.files()).toEqual([])
    expect(rig.events.filter((event) => event.startsWith('storeFailure'))).toEqual([])
  })

  it('cuts a reader whose bytes are wrong', async () => {
    const rig = await rigOf()
    const blob = blobOf(size)
    for (const at of [0, size - 1]) {
      const fill = await rig.begin(scripted(flipped(blob.bytes, at), [{ chunkBytes: 65_536 }]), blob)
      const { bytes, error } = await drink(fill.openBody())
      expect(error).toMatchObject({ kind: 'invalid-response' })
      expect(bytes.length).toBeLessThan(size)
    }
    expect(rig.events).toContain('mismatch default/hub')
  })
})

describe('a transfer for one reader', () => {
  async function alone(script: Script, asked: Parameters<Awaited<ReturnType<typeof createRig>>['begin']>[1]) {
    const rig = await createRig({
      wrap: withRoomFor(undefined),
      limits: { slowMs: 30, slowBytes: 1000, firstReaderMs: 20 },
    })
    const fill = await rig.begin(script, asked)
    return { rig, fill }
  }

  it('is taken up again where it was cut', async () => {
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [
      { until: 1000, ending: 'error' },
      { until: MiB, fromStart: true },
      {},
    ])
    const { fill, rig } = await alone(script, blob)
    expect((await drink(fill.openBody())).bytes.equals(blob.bytes)).toBe(true)
    expect(script.starts).toEqual([0, 1000, MiB])
    expect(rig.events).toContain('ended direct committed')
  })

  it.each([true, false])('needs no size, and takes chunks larger than its buffer: told %s', async (told) => {
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ chunkBytes: size }], told ? {} : { says: undefined })
    const { fill } = await alone(script, { digest: blob.digest })
    expect((await drink(fill.openBody(), { bufferBytes: 5000 })).bytes.equals(blob.bytes)).toBe(true)
  })

  it('waits for its reader, however long, without more than its buffer', async () => {
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ chunkBytes: 65_536 }])
    const { fill } = await alone(script, blob)
    const body = fill.openBody()
    expect(await body.read(Buffer.alloc(1000), 0)).toBe(1000)
    await pause(150)
    expect(script.sent).toBeLessThan(MiB + 4 * 65_536)
    const rest = await drink(body, { start: 1000 })
    expect(rest.bytes.equals(blob.bytes.subarray(1000))).toBe(true)
    expect(script.starts).toEqual([0])
  })

  it.each([true, false])('does not begin for a reader that asks for nothing, or none: %s', async (opened) => {
    const blob = blobOf(size)
    const script = scripted(blob.bytes)
    const { fill, rig } = await alone(script, blob)
    expect(await fill.done).toBe(false)
    if (opened) for (const body of [fill.openBody(), fill.openBody()]) body.close()
    await until(() => script.openBodies === 0)
    expect(script.starts).toEqual([0])
    expect(rig.fills.inProgress).toBe(0)
  })

  it('ends with its reader', async () => {
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ until: 1000, ending: 'stall' }])
    const { fill, rig } = await alone(script, blob)
    const body = fill.openBody()
    const reading = drink(body)
    await until(() => script.sent === 1000)
    body.close()
    expect((await reading).error).toMatchObject({ name: 'BodyClosedError' })
    await until(() => script.openBodies === 0 && rig.fills.inProgress === 0)
    expect(rig.events).toContain('ended direct abandoned')
  })

  it('fails as its source does', async () => {
    const blob = blobOf(size)
    const refuse = new UpstreamError('rate-limited', 'slow down')
    const { fill } = await alone(scripted(blob.bytes, [{ until: 10, ending: 'error' }, { refuse }]), blob)
    expect((await drink(fill.openBody())).error).toBe(refuse)
  })

  it('may not complete what a transfer of other bytes began', async () => {
    // half has gone out when the store is full; what comes then is right, but what went out was not
    const rig = await createRig({ limits: { windowBytes: 256 * 1024 }, wrap: withRoomFor(size / 2) })
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [
      { bytes: flipped(blob.bytes, 100), chunkBytes: 65_536, before: () => pause(1) },
      {},
    ])
    const fill = await rig.begin(script, blob)
    const begun = fill.openBody()
    const waiting = fill.openBody()
    const { bytes, error } = await drink(begun)
    expect(bytes.length).toBeGreaterThan(100)
    expect(bytes.length).toBeLessThan(size)
    expect(error).toMatchObject({ kind: 'invalid-response' })
    expect((await drink(waiting)).bytes.equals(blob.bytes)).toBe(true)
  })
})

describe('draining', () => {
  const slowly = { chunkBytes: 65_536, before: () => pause(2) }

  it('lets what is read go on, gives up what nobody reads, and stores nothing new', async () => {
    const rig = await createRig()
    const [read, unread, late] = [blobOf(size), blobOf(size), blobOf(size)]
    const reading = await rig.begin(scripted(read.bytes, [slowly]), read)
    const drunk = drink(reading.openBody())
    const alone = await rig.begin(scripted(unread.bytes, [slowly]), unread)
    const drained = rig.fills.drain(5_000)
    expect(await alone.done).toBe(false)
    const after = await rig.begin(scripted(late.bytes), late)
    expect((await drink(after.openBody())).bytes.equals(late.bytes)).toBe(true)
    expect((await drunk).bytes.equals(read.bytes)).toBe(true)
    await drained
    expect(await reading.done).toBe(true)
    expect(await rig.files()).toHaveLength(1)
    expect(rig.fills.inProgress).toBe(0)
  })

  it('ends everything when its time is over', async () => {
    const rig = await createRig({ wrap: (blobs) => blobs })
    const blob = blobOf(size)
    const script = scripted(blob.bytes, [{ until: 1000, ending: 'stall' }])
    const fill = await rig.begin(script, blob)
    const readers = [drink(fill.openBody()), drink(fill.openBody())]
    const drained = rig.fills.drain(500)
    const other = blobOf(size)
    const direct = await rig.begin(scripted(other.bytes, [{ until: 1000, ending: 'stall' }]), other)
    readers.push(drink(direct.openBody()))
    await drained
    for (const { error } of await Promise.all(readers)) expect(error).toMatchObject({ kind: 'unavailable' })
    expect(rig.fills.inProgress).toBe(0)
    expect(await rig.files()).toEqual([])
    await until(() => script.openBodies === 0)
    await expect(rig.begin(scripted(blob.bytes), blob)).rejects.toMatchObject({ kind: 'unavailable' })
  })

  it('ends at once when there is nothing', async () => {
    const rig = await createRig()
    await rig.fills.drain(60_000)
  })
})
