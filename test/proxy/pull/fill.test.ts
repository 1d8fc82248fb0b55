import { setTimeout as pause } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { blobOf, createRig, drink, gate, openDescriptors, scripted, until } from './fill-rig.ts'

const MiB = 1024 ** 2

describe('a fill', () => {
  it('gives every reader the same bytes at its own pace, from one transfer, and stores them', async () => {
    const rig = await createRig()
    const blob = blobOf(6 * MiB + 123)
    const script = scripted(blob.bytes, [{ chunks: [1, 65_536, 100, 7_000] }])
    const fill = await rig.begin(script, blob)
    const paces = [
      {},
      { bufferBytes: 1000 },
      { bufferBytes: MiB },
      { bufferBytes: 100_000, pauseMs: 5 },
      { start: 5 * MiB },
    ]
    const readers = paces.map((pace) => drink(fill.openBody(), pace))
    const drunk = await Promise.all(readers)

    for (const [i, { bytes, error }] of drunk.entries()) {
      expect(error).toBeUndefined()
      expect(bytes.equals(blob.bytes.subarray(paces[i]!.start ?? 0))).toBe(true)
    }
    expect(await fill.done).toBe(true)
    expect(script.starts).toEqual([0])
    expect(await rig.blobs.stat(blob.digest)).toMatchObject({ size: blob.size })
    expect(rig.events).toEqual(['started upstream', 'ended upstream committed'])
    expect(rig.fills.inProgress).toBe(0)
  })

  it.each([
    ['sha512', true],
    ['sha512', false],
    ['sha256', false],
  ] as const)('takes %s, with a size told: %s', async (algorithm, told) => {
    const rig = await createRig()
    const blob = blobOf(300_000, algorithm)
    const script = scripted(blob.bytes, [{}], told ? {} : { says: undefined })
    const fill = await rig.begin(script, { digest: blob.digest })
    expect(fill.size).toBe(told ? blob.size : undefined)
    const { bytes, error } = await drink(fill.openBody())
    expect(error).toBeUndefined()
    expect(bytes.equals(blob.bytes)).toBe(true)
    expect(await fill.done).toBe(true)
    expect(fill.size).toBe(blob.size)
  })

  it.each([0, undefined])('takes a blob of no bytes whose size is said to be %s', async (says) => {
    const rig = await createRig()
    const blob = blobOf(0)
    const fill = await rig.begin(scripted(blob.bytes, [{}], { says }), { digest: blob.digest })
    expect(await drink(fill.openBody())).toEqual({ bytes: Buffer.alloc(0), error: undefined })
    expect(await fill.done).toBe(true)
    expect(await rig.blobs.stat(blob.digest)).toMatchObject({ size: 0 })
  })

  it('takes a chunk larger than all its memory', async () => {
    const rig = await createRig({ limits: { windowBytes: 100_000, leastWindowBytes: 1000 } })
    const blob = blobOf(3 * MiB)
    const fill = await rig.begin(scripted(blob.bytes, [{ chunkBytes: 3 * MiB }]), blob)
    const { bytes, error } = await drink(fill.openBody())
    expect(error).toBeUndefined()
    expect(bytes.equals(blob.bytes)).toBe(true)
    expect(await fill.done).toBe(true)
  })

  it('is joined late, and while it commits, and no longer after that', async () => {
    const rig = await createRig({ limits: { windowBytes: 64 * 1024 } })
    const blob = blobOf(2 * MiB)
    const [half, linked] = [gate(), gate()]
    const before = (at: number) => (at === MiB ? half.opened : undefined)
    const script = scripted(blob.bytes, [{ before }])
    const fill = await rig.begin(script, blob, () => linked.opened)
    const join = () => rig.fills.running('https://hub', blob.digest)
    expect(rig.fills.running('https://other', blob.digest)).toBeUndefined()

    const early = drink(fill.openBody())
    await until(() => script.sent >= MiB)
    const late = drink(join()!.openBody())
    half.open()
    for (const { bytes } of [await early, await late]) expect(bytes.equals(blob.bytes)).toBe(true)

    expect(join()).toBe(fill)
    const atCommit = await drink(fill.openBody())
    expect(atCommit.bytes.equals(blob.bytes)).toBe(true)
    const tailing = fill.openBody()
    linked.open()
    expect(await fill.done).toBe(true)
    expect(join()).toBeUndefined()
    expect((await drink(tailing)).bytes.equals(blob.bytes)).toBe(true)
    expect(script.starts).toEqual([0])
  })

  it('keeps its bytes for its first reader, also when it is done sooner', async () => {
    const rig = await createRig()
    const blob = blobOf(10_000)
    const script = scripted(blob.bytes)
    const fill = await rig.begin(script, blob)
    expect(await fill.done).toBe(true)
    for (let i = 0; i < 2; i++) expect((await drink(fill.openBody())).bytes.equals(blob.bytes)).toBe(true)
    // the first kept it open; after him the bytes are to be had from the store, and here only once more
    expect(script.starts).toEqual([0, 0])
  })

  it('lets nobody wait for the commit', async () => {
    const committing = gate()
    const rig = await createRig({
      wrap: (blobs) => ({
        ...blobs,
        async create(digest, size) {
          const writer = await blobs.create(digest, size)
          return writer && { ...writer, commit: () => committing.opened.then(writer.commit) }
        },
      }),
    })
    const blob = blobOf(100_000)
    const fill = await rig.begin(scripted(blob.bytes), blob)
    const { bytes, error } = await drink(fill.openBody())
    expect(error).toBeUndefined()
    expect(bytes.equals(blob.bytes)).toBe(true)
    expect(await rig.blobs.stat(blob.digest)).toBeUndefined()
    committing.open()
    expect(await fill.done).toBe(true)
  })

  it.each(['commit', 'append', 'link'])(
    'hurts no reader when the %s fails after the proof',
    async (operation) => {
      const rig = await createRig({
        wrap: (blobs) => ({
          ...blobs,
          async create(digest, size) {
            const writer = await blobs.create(digest, size)
            const fail = () => Promise.reject(new Error('disk'))
            return writer && { ...writer, ...(operation === 'link' ? {} : { [operation]: fail }) }
          },
        }),
      })
      const blob = blobOf(100_000)
      let linked = 0
      const fill = await rig.begin(scripted(blob.bytes), blob, async () => {
        linked++
        throw new Error('index')
      })
      const body = fill.openBody()
      expect(await fill.done).toBe(false)
      const { bytes, error } = await drink(body)
      expect(error).toBeUndefined()
      expect(bytes.equals(blob.bytes)).toBe(true)
      expect(linked).toBe(operation === 'link' ? 1 : 0)
      expect(rig.events).toContain(`storeFailure blob.${operation}`)
      expect(await rig.files()).toHaveLength(operation === 'link' ? 1 : 0)
    },
  )

  it('joins a start of what is running already', async () => {
    const rig = await createRig()
    const blob = blobOf(50_000)
    const [script, second] = [scripted(blob.bytes), scripted(blob.bytes)]
    const fill = await rig.begin(script, blob)
    expect(await rig.begin(second, blob)).toBe(fill)
    expect((await drink(fill.openBody())).bytes.equals(blob.bytes)).toBe(true)
    await until(() => second.openBodies === 0)
    expect(second.sent).toBe(0)
  })
})

describe('readers of a fill', () => {
  it('may leave, the first at 10 %, and the rest have all', async () => {
    const rig = await createRig()
    const blob = blobOf(2 * MiB)
    const script = scripted(blob.bytes, [{ before: () => pause(0) }])
    const fill = await rig.begin(script, blob)
    const leader = fill.openBody()
    const follower = drink(fill.openBody())
    await leader.read(Buffer.alloc(blob.size / 10), 0)
    leader.close()
    leader.close()
    await expect(leader.read(Buffer.alloc(10), 0)).rejects.toMatchObject({ name: 'BodyClosedError' })
    expect((await follower).bytes.equals(blob.bytes)).toBe(true)
    expect(script.starts).toEqual([0])
  })

  it('are not slowed by one that reads 1 KB/s, nor is the transfer', async () => {
    const rig = await createRig()
    const blob = blobOf(20 * MiB)
    const script = scripted(blob.bytes, [{ chunkBytes: 65_536 }])
    const fill = await rig.begin(script, blob)
    const slow = fill.openBody()
    const reading = drink(slow, { bufferBytes: 1000, pauseMs: 1000 })
    const fast = await Promise.all([1, 2, 3].map(() => drink(fill.openBody())))
    for (const { bytes } of fast) expect(bytes.equals(blob.bytes)).toBe(true)
    expect(await fill.done).toBe(true)
    expect(script.starts).toEqual([0])
    slow.close()
    const { bytes } = await reading
    expect(bytes.length).toBeLessThan(MiB)
    expect(bytes.equals(blob.bytes.subarray(0, bytes.length))).toBe(true)
  })

  it('end a pending read by closing', async () => {
    const rig = await createRig()
    const blob = blobOf(1000)
    const script = scripted(blob.bytes, [{ until: 0, ending: 'stall' }])
    const fill = await rig.begin(script, blob)
    const body = fill.openBody()
    const reading = drink(body)
    await pause(5)
    body.close()
    expect((await reading).error).toMatchObject({ name: 'BodyClosedError' })
    await rig.fills.drain(0)
    expect(await fill.done).toBe(false)
    await until(() => script.openBodies === 0)
  })

  it('may leave while the store still reads for them', async () => {
    const rig = await createRig({ limits: { windowBytes: 64 * 1024 } })
    const blob = blobOf(MiB)
    const fill = await rig.begin(scripted(blob.bytes), blob)
    const body = fill.openBody()
    expect(await fill.done).toBe(true)
    const reading = body.read(Buffer.alloc(1000), 0)
    body.close()
    expect(await reading).toBe(1000)
    // that nothing is closed under the read is noted by the rig
  })

  it('leave nothing behind after a thousand were opened and closed', async () => {
    const rig = await createRig()
    const before = openDescriptors()
    const fills = []
    for (let i = 0; i < 100; i++) {
      const blob = blobOf(20_000)
      const fill = await rig.begin(scripted(blob.bytes, [{ before: () => pause(0) }]), blob)
      const bodies = Array.from({ length: 10 }, () => fill.openBody())
      for (const [j, body] of bodies.entries()) {
        if (j % 3 > 0) void body.read(Buffer.alloc(j * 1000), j * 100).catch(() => {})
        if (j % 4 > 0) setImmediate(() => body.close())
        else body.close()
      }
      fills.push(fill)
    }
    for (const fill of fills) await fill.done
    await until(() => openDescriptors() <= before)
    expect(rig.fills.inProgress).toBe(0)
    const stored = await rig.files()
    expect(stored.every((name) => /^[a-f0-9]{64}$/.test(name))).toBe(true)
  })
})

describe('a fill without readers', () => {
  const orphan = async (limits: object, says: number | undefined) => {
    const rig = await createRig({ limits })
    const blob = blobOf(4 * MiB)
    const script = scripted(blob.bytes, [{ chunkBytes: 65_536, before: () => pause(1) }], { says })
    const fill = await rig.begin(script, { digest: blob.digest })
    const body = fill.openBody()
    await body.read(Buffer.alloc(1000), 0)
    body.close()
    return { rig, blob, script, fill, stored: await fill.done }
  }

  it('goes on within its budget', async () => {
    const { rig, blob, stored } = await orphan({}, 4 * MiB)
    expect(stored).toBe(true)
    expect(await rig.blobs.stat(blob.digest)).toMatchObject({ size: blob.size })
  })

  it.each([
    ['too much is missing', { orphanBytes: MiB }, 4 * MiB],
    ['too much has come', { orphanBytes: MiB }, undefined],
    ['it takes too long', { orphanMs: 10 }, 4 * MiB],
    ['too many do', { orphans: 0 }, 4 * MiB],
  ])('is given up when %s, and who comes then has a transfer of his own', async (_, limits, says) => {
    const { rig, blob, script, fill, stored } = await orphan(limits, says)
    expect(stored).toBe(false)
    expect(script.sent).toBeLessThan(3 * MiB)
    expect(await rig.files()).toEqual([])
    expect(rig.events).toEqual(['started upstream', 'ended upstream abandoned'])
    expect(rig.fills.running('https://hub', blob.digest)).toBeUndefined()
    expect((await drink(fill.openBody())).bytes.equals(blob.bytes)).toBe(true)
    await until(() => script.openBodies === 0)
  })
})
