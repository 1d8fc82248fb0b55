import { randomBytes } from 'node:crypto'
import { readdir, readlink, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { type BlobStore, blobKey } from '../../../proxy/store/blob-store.ts'
import { bytesOnDisk, createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { begin, putBlob, readAll, readBlob } from '../../contracts/blobs.ts'
import { collect } from '../../contracts/collect.ts'
import { blocksBelow, noObserver as observer, temporaryFolder } from './temporary-folder.ts'

const mebibyte = 1024 * 1024
const onDisk = bytesOnDisk(mebibyte)

describe('a store of files', () => {
  it('keeps a blob under its algorithm and the first two letters of its digest', async () => {
    const root = await temporaryFolder()
    const bytes = randomBytes(10)
    await putBlob(await createFileBlobStore({ root, observer }), bytes)
    expect((await stat(join(root, blobKey(digestOf(bytes))))).size).toBe(10)
    expect(await readdir(join(root, '.spool'))).toEqual([])
  })

  it('starts with what it had, and without what was never finished', async () => {
    const root = await temporaryFolder()
    const [kept, lost] = [randomBytes(1000), randomBytes(1000)]
    const before = await createFileBlobStore({ root, observer })
    await putBlob(before, kept)
    const writer = await begin(before, digestOf(lost), undefined)
    await writer.append([lost])
    expect(await collect(before.leftovers())).toHaveLength(1)

    const after = await createFileBlobStore({ root, observer })
    expect(await readdir(join(root, '.spool'))).toEqual([])
    expect(await readBlob(after, digestOf(kept))).toEqual(kept)
    expect(await after.stat(digestOf(lost))).toBeUndefined()
    await writer.close()
  })

  it('leaves everything alone when it does not own the folder', async () => {
    const root = await temporaryFolder()
    const owner = await createFileBlobStore({ root, observer })
    const writer = await begin(owner, digestOf(Buffer.from('x')), undefined)
    await writer.append([Buffer.from('x')])
    const other = await createFileBlobStore({ root, observer, owner: false })
    expect(await collect(other.leftovers())).toHaveLength(1)
    await writer.commit()
    await writer.close()
    expect(await readBlob(other, digestOf(Buffer.from('x')))).toEqual(Buffer.from('x'))
  })

  it('passes over files that are no blobs', async () => {
    const root = await temporaryFolder()
    const store = await createFileBlobStore({ root, observer })
    const digest = digestOf(Buffer.from('x'))
    await putBlob(store, Buffer.from('x'))
    await writeFile(join(root, blobKey(digest), '..', 'README'), 'hello')
    await writeFile(join(root, 'sha256', 'stray'), 'hello')
    expect((await collect(store.list())).map((blob) => blob.digest)).toEqual([digest])
  })

  it('fails the read of a blob that got shorter while it was open', async () => {
    const root = await temporaryFolder()
    const store = await createFileBlobStore({ root, observer })
    const bytes = randomBytes(100_000)
    await putBlob(store, bytes)
    const blob = (await store.open(digestOf(bytes)))!
    await truncate(join(root, blobKey(digestOf(bytes))), 60_000)
    await expect(readAll(blob, Buffer.alloc(100_000))).rejects.toMatchObject({ name: 'SpoiledBlobError' })
    await blob.close()
    expect((await store.stat(digestOf(bytes)))?.size).toBe(60_000)
  })

  it('finishes a read that runs when the blob is closed, and refuses the next', async () => {
    const store = await createFileBlobStore({ root: await temporaryFolder(), observer })
    const bytes = randomBytes(4 * mebibyte)
    await putBlob(store, bytes)
    const blob = (await store.open(digestOf(bytes)))!
    const buffer = Buffer.alloc(4 * mebibyte)
    const reading = blob.read(buffer, 0)
    const closing = blob.close()
    expect(buffer.subarray(0, await reading)).toEqual(bytes)
    await closing
    await expect(async () => blob.read(buffer, 0)).rejects.toThrow('closed')
  })

  it.skipIf(process.platform !== 'linux')('has no descriptor left when all is closed', async () => {
    const root = await temporaryFolder()
    const store = await createFileBlobStore({ root, observer })
    const bytes = randomBytes(10_000)
    await putBlob(store, bytes)
    const failed = await begin(store, digestOf(bytes), 5)
    await failed.append([bytes])
    await failed.abort()
    const blob = await store.open(digestOf(bytes))
    expect(await descriptorsBelow(root)).toBe(2)
    await Promise.all([failed.close(), blob?.close()])
    expect(await descriptorsBelow(root)).toBe(0)
  })

  it('tells how many bytes are stored and how many in unfinished blobs', async () => {
    const told = { spool: 0, stored: 0, evicted: 0 }
    const root = await temporaryFolder()
    const store = await createFileBlobStore({ root, observer: tellingTo(told) })
    const [one, two] = [randomBytes(5000), randomBytes(5000)]
    const writer = await begin(store, digestOf(one), 5000)
    await writer.append([one.subarray(0, 1000)])
    expect(told).toMatchObject({ spool: 1000, stored: 0 })
    await writer.append([one.subarray(1000)])
    await writer.commit()
    await writer.close()
    expect(told).toMatchObject({ spool: 0, stored: bytesOnDisk(5000) })

    const aborted = await begin(store, digestOf(two), 5000)
    await aborted.append([two])
    await aborted.abort()
    await aborted.close()
    await putBlob(store, one)
    expect(told).toMatchObject({ spool: 0, stored: bytesOnDisk(5000) })
    await store.delete(digestOf(one))
    expect(told).toMatchObject({ spool: 0, stored: 0, evicted: 0 })
  })
})

describe('a store of files under a limit', () => {
  it('evicts what was used longest ago, in the order of use', async () => {
    const { store, put } = await limited(4)
    const [one, two, three, four] = [await put(), await put(), await put(), await put()]
    await readBlob(store, one!)
    const five = await put()
    const six = await put()
    expect(await presentOf(store, [one, two, three, four, five, six])).toEqual([1, 0, 0, 1, 1, 1])
  })

  it('evicts nothing that is open', async () => {
    const { store, put } = await limited(3)
    const [one, two] = [await put(), await put()]
    const blob = (await store.open(one))!
    for (let n = 0; n < 10; n += 1) await put()
    expect(await presentOf(store, [one, two])).toEqual([1, 0])
    expect(await blob.read(Buffer.alloc(10), 0)).toBe(10)
    await blob.close()
    for (let n = 0; n < 3; n += 1) await put()
    expect(await presentOf(store, [one])).toEqual([0])
  })

  it('evicts nothing that its writer still reads from', async () => {
    const { store, put } = await limited(3)
    const bytes = randomBytes(mebibyte)
    const writer = await begin(store, digestOf(bytes), undefined)
    await writer.append([bytes])
    await writer.commit()
    for (let n = 0; n < 10; n += 1) await put()
    expect(await readAll(writer, Buffer.alloc(mebibyte + 1))).toEqual(bytes)
    expect(await presentOf(store, [digestOf(bytes)])).toEqual([1])
    await writer.close()
    for (let n = 0; n < 3; n += 1) await put()
    expect(await presentOf(store, [digestOf(bytes)])).toEqual([0])
  })

  it('lets go of a blob that is closed while its commit is under way', async () => {
    const { store, put } = await limited(3)
    const bytes = randomBytes(mebibyte)
    const writer = await begin(store, digestOf(bytes), undefined)
    await writer.append([bytes])
    await Promise.all([writer.commit(), writer.close()])
    expect(await readBlob(store, digestOf(bytes))).toEqual(bytes)
    for (let n = 0; n < 3; n += 1) await put()
    expect(await presentOf(store, [digestOf(bytes)])).toEqual([0])
  })

  it('counts an aborted blob until it is closed', async () => {
    const { store, budget } = await limited(3)
    const before = budget.used()
    const writer = await begin(store, digestOf(Buffer.from('x')), mebibyte)
    await writer.append([randomBytes(mebibyte)])
    await writer.abort()
    expect(budget.used()).toBe(before + onDisk)
    await writer.close()
    expect(budget.used()).toBe(before)
  })

  it('evicts a blob that is being committed anew as the old one alone', async () => {
    for (let ticks = 0; ticks < 60; ticks += 3) {
      const { store, put } = await limited(3)
      const bytes = randomBytes(mebibyte)
      await putBlob(store, bytes)
      await put()
      const writer = await begin(store, digestOf(bytes), mebibyte)
      await writer.append([bytes])
      const committed = writer.commit()
      for (let tick = 0; tick < ticks; tick += 1) await new Promise((resolve) => setImmediate(resolve))
      const other = await store.create(digestOf(Buffer.from('other')), mebibyte)
      await committed
      expect(await presentOf(store, [digestOf(bytes)])).toEqual([1])
      await Promise.all([writer.close(), other?.close()])
    }
  })

  it('has no room for a blob larger than the limit, and evicts nothing for it', async () => {
    const { store, put } = await limited(3)
    const all = [await put(), await put(), await put()]
    expect(await store.create(digestOf(Buffer.from('big')), 4 * mebibyte)).toBeUndefined()
    expect(await presentOf(store, all)).toEqual([1, 1, 1])
  })

  it('has no room while everything is open, and has it again afterwards', async () => {
    const { store, put } = await limited(2)
    const open = await Promise.all([await put(), await put()].map((digest) => store.open(digest)))
    expect(await store.create(digestOf(Buffer.from('x')), mebibyte)).toBeUndefined()
    await Promise.all(open.map((blob) => blob?.close()))
    await put()
  })

  it('stops a blob of unknown size where the room ends, with what it has still readable', async () => {
    const { store, budget, put } = await limited(3)
    const old = await put()
    const before = budget.used() - onDisk
    const writer = await begin(store, digestOf(Buffer.from('endless')), undefined)
    const chunk = randomBytes(mebibyte / 4)
    let appended = 0
    const fill = async () => {
      for (;;) {
        await writer.append([chunk])
        appended += chunk.length
      }
    }
    await expect(fill()).rejects.toMatchObject({ name: 'NoRoomError' })
    expect(appended).toBe(3 * mebibyte)
    expect(await presentOf(store, [old])).toEqual([0])
    expect(await writer.read(Buffer.alloc(10), appended - 10)).toBe(10)
    await expect(writer.commit()).rejects.toThrow()
    await writer.abort()
    expect(await collect(store.leftovers())).toEqual([])
    await writer.close()
    expect(budget.used()).toBe(before)
  })

  it('gives back what a blob had reserved and did not need', async () => {
    const { store, budget, limit } = await limited(20)
    const before = budget.used()
    const bytes = randomBytes(6000)
    const writer = await begin(store, digestOf(bytes), undefined)
    await writer.append([bytes])
    expect(budget.used()).toBeGreaterThan(before + mebibyte)
    await writer.commit()
    expect(budget.used()).toBeLessThan(before + 20_000)
    await writer.close()
    const failed = await begin(store, digestOf(Buffer.from('y')), 4 * mebibyte)
    await failed.close()
    await store.delete(digestOf(bytes))
    expect(budget.used()).toBeLessThan(before + 20_000)
    expect(budget.used()).toBeLessThan(limit)
  })

  it('counts a deleted blob until its last reader is gone, for so long the disk does not have it back', async () => {
    const { store, budget, put } = await limited(3)
    const digest = await put()
    const used = budget.used()
    const blob = (await store.open(digest))!
    await store.delete(digest)
    expect(budget.used()).toBe(used)
    await blob.close()
    expect(budget.used()).toBe(used - onDisk)
  })

  it('counts a blob that is written again once', async () => {
    const { store, budget } = await limited(4)
    const bytes = randomBytes(mebibyte)
    await putBlob(store, bytes)
    const used = budget.used()
    await putBlob(store, bytes)
    expect(budget.used()).toBe(used)
  })

  it('stays under the limit and gives right bytes, whatever comes at once', async () => {
    const { store, root, limit } = await limited(8)
    let most = 0
    const sizes = Array.from({ length: 120 }, (_, n) => 1000 + ((n * 7919) % (mebibyte / 2)))
    const blobs = sizes.map((size) => randomBytes(size))
    const write = async (bytes: Buffer, n: number) => {
      const writer = await store.create(digestOf(bytes), n % 2 ? bytes.length : undefined)
      try {
        await writer?.append([bytes])
        if (n % 5) await writer?.commit()
      } catch (error) {
        expect(error).toMatchObject({ name: 'NoRoomError' })
      }
      await writer?.close()
    }
    const worker = async (start: number) => {
      for (let n = start; n < blobs.length; n += 6) {
        await write(blobs[n]!, n)
        const again = blobs[(n * 31) % blobs.length]!
        const read = await readBlob(store, digestOf(again))
        expect(read === undefined || read.equals(again)).toBe(true)
        most = Math.max(most, await blocksBelow(root))
      }
    }
    await Promise.all([0, 1, 2, 3, 4, 5].map(worker))
    expect(most).toBeLessThanOrEqual(limit)
    expect(most).toBeGreaterThan(limit / 2)
    expect(await collect(store.leftovers())).toEqual([])
  })

  it('starts by making what is there fit, the least lately used first', async () => {
    const root = await temporaryFolder()
    const unlimited = await createFileBlobStore({ root, observer })
    const blobs = Array.from({ length: 6 }, () => randomBytes(mebibyte))
    for (const [n, bytes] of blobs.entries()) {
      await putBlob(unlimited, bytes)
      const usedAt = new Date(Date.now() - 1_000_000 + ((n + 3) % 6) * 1000)
      await utimes(join(root, blobKey(digestOf(bytes))), usedAt, usedAt)
    }
    const told = { spool: 0, stored: 0, evicted: 0 }
    const budget = createDiskBudget({ maxBytes: 4 * onDisk + 200_000 })
    const store = await createFileBlobStore({ root, observer: tellingTo(told), budget })
    const digests = blobs.map((bytes) => digestOf(bytes))
    expect(await presentOf(store, digests)).toEqual([1, 1, 1, 0, 0, 1])
    expect(told).toMatchObject({ stored: 4 * onDisk, evicted: 2 * onDisk })
  })

  it('forgets a blob whose file was taken away by another hand', async () => {
    const { store, root, budget, put } = await limited(3)
    const digest = await put()
    const used = budget.used()
    await rm(join(root, blobKey(digest)))
    expect(await store.open(digest)).toBeUndefined()
    expect(budget.used()).toBe(used - onDisk)
  })
})

async function limited(blobsOfOneMebibyte: number) {
  const root = await temporaryFolder()
  const limit = blobsOfOneMebibyte * onDisk + 100_000
  const budget = createDiskBudget({ maxBytes: limit })
  const store = await createFileBlobStore({ root, observer, budget })
  const put = async () => {
    const bytes = randomBytes(mebibyte)
    await putBlob(store, bytes)
    return digestOf(bytes)
  }
  return { root, limit, budget, store, put }
}

async function presentOf(store: BlobStore, digests: Parameters<BlobStore['stat']>[0][]): Promise<number[]> {
  return Promise.all(digests.map(async (digest) => ((await store.stat(digest)) ? 1 : 0)))
}

function tellingTo(told: { spool: number; stored: number; evicted: number }) {
  return {
    spoolBytes(bytes: number) {
      told.spool = bytes
    },
    storedBytes(bytes: number) {
      told.stored = bytes
    },
    evicted(bytes: number) {
      told.evicted += bytes
    },
  }
}

async function descriptorsBelow(root: string): Promise<number> {
  const targets = await Promise.all(
    (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
  )
  return targets.filter((target) => target.startsWith(root)).length
}
