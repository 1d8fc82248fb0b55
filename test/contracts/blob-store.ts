import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Digest, digestOf } from '../../proxy/oci/digest.ts'
import type { BlobStore } from '../../proxy/store/blob-store.ts'
import { begin, putBlob, readAll, readBlob } from './blobs.ts'
import { collect } from './collect.ts'

/** The behaviour every BlobStore owes its callers. `create` gives an empty store each time. */
export function describeBlobStore(name: string, create: () => Promise<BlobStore>): void {
  describe(`${name} as a BlobStore`, () => {
    describe('a committed blob', () => {
      it.each([
        ['of 0 bytes', 0],
        ['of one byte', 1],
        ['of 3 MiB and a bit', 3 * 1024 * 1024 + 7],
      ])('%s is given back as it was written', async (_, size) => {
        const store = await create()
        const bytes = randomBytes(size)
        await putBlob(store, bytes)
        expect((await store.stat(digestOf(bytes)))?.size).toBe(size)
        expect((await readBlob(store, digestOf(bytes)))?.equals(bytes)).toBe(true)
      })

      it('may have a sha512 digest, and a size that nobody knew', async () => {
        const store = await create()
        const bytes = randomBytes(10_000)
        const digest = digestOf(bytes, 'sha512')
        const writer = await begin(store, digest, undefined)
        for (let at = 0; at < bytes.length; at += 999) await writer.append([bytes.subarray(at, at + 999)])
        await writer.commit()
        await writer.close()
        expect((await readBlob(store, digest))?.equals(bytes)).toBe(true)
        expect(await store.stat(digestOf(bytes, 'sha256'))).toBeUndefined()
      })

      it('is read by many at once, each at its own position', async () => {
        const store = await create()
        const bytes = randomBytes(500_000)
        await putBlob(store, bytes)
        const readers = Array.from({ length: 20 }, async (_, n) => {
          const blob = (await store.open(digestOf(bytes)))!
          const buffer = Buffer.alloc(1000)
          const position = n * 20_000
          const read = await blob.read(buffer, position)
          await blob.close()
          return read > 0 && buffer.subarray(0, read).equals(bytes.subarray(position, position + read))
        })
        expect(new Set(await Promise.all(readers))).toEqual(new Set([true]))
      })

      it('reads 0 at its end and beyond, and no byte past it', async () => {
        const store = await create()
        const bytes = Buffer.from('hello')
        await putBlob(store, bytes)
        const blob = (await store.open(digestOf(bytes)))!
        const buffer = Buffer.alloc(10, '.')
        expect(await blob.read(buffer, 3)).toBe(2)
        expect(buffer.toString()).toBe('lo........')
        expect(await blob.read(buffer, 5)).toBe(0)
        expect(await blob.read(buffer, 500)).toBe(0)
        expect(blob.size).toBe(5)
        await blob.close()
        await blob.close()
      })

      it('can be written again, and is then still whole', async () => {
        const store = await create()
        const bytes = randomBytes(100_000)
        await putBlob(store, bytes)
        await putBlob(store, bytes)
        expect((await readBlob(store, digestOf(bytes)))?.equals(bytes)).toBe(true)
        expect(await keysOf(store)).toEqual([digestOf(bytes)])
      })
    })

    describe('a blob being written', () => {
      it('is seen by nobody before its commit', async () => {
        const store = await create()
        const bytes = randomBytes(2000)
        const digest = digestOf(bytes)
        const writer = await begin(store, digest, bytes.length)
        await writer.append([bytes])
        expect(await store.stat(digest)).toBeUndefined()
        expect(await store.open(digest)).toBeUndefined()
        expect(await keysOf(store)).toEqual([])
        await writer.commit()
        expect((await store.stat(digest))?.size).toBe(2000)
        await writer.close()
      })

      it('gives back what has been appended while more is', async () => {
        const store = await create()
        const bytes = randomBytes(300_000)
        const writer = await begin(store, digestOf(bytes), bytes.length)
        const buffer = Buffer.alloc(400_000)
        expect(await writer.read(buffer, 0)).toBe(0)
        await writer.append([bytes.subarray(0, 100_000), bytes.subarray(100_000, 100_001), Buffer.alloc(0)])
        expect((await readAll(writer, buffer)).equals(bytes.subarray(0, 100_001))).toBe(true)
        const [, read] = await Promise.all([
          writer.append([bytes.subarray(100_001)]),
          writer.read(buffer, 50_000),
        ])
        expect(buffer.subarray(0, read).equals(bytes.subarray(50_000, 50_000 + read))).toBe(true)
        expect((await readAll(writer, buffer)).equals(bytes)).toBe(true)
        await writer.abort()
        await writer.close()
      })

      it.each(['commit', 'abort'] as const)(
        'is readable after its %s, until it is closed',
        async (ending) => {
          const store = await create()
          const bytes = randomBytes(200_000)
          const writer = await begin(store, digestOf(bytes), undefined)
          await writer.append([bytes])
          await writer[ending]()
          expect((await readAll(writer, Buffer.alloc(300_000))).equals(bytes)).toBe(true)
          await writer.close()
          await writer.close()
        },
      )

      it('leaves nothing when it is aborted, however often', async () => {
        const store = await create()
        const bytes = randomBytes(1000)
        const writer = await begin(store, digestOf(bytes), 1000)
        await writer.append([bytes])
        await writer.abort()
        await writer.abort()
        await writer.close()
        expect(await store.stat(digestOf(bytes))).toBeUndefined()
        await putBlob(store, bytes)
        expect((await readBlob(store, digestOf(bytes)))?.equals(bytes)).toBe(true)
      })

      it('leaves nothing when it is closed without a commit', async () => {
        const store = await create()
        const bytes = randomBytes(1000)
        const writer = await begin(store, digestOf(bytes), 1000)
        await writer.append([bytes])
        await writer.close()
        expect(await store.stat(digestOf(bytes))).toBeUndefined()
      })

      it('is not undone by an abort after its commit', async () => {
        const store = await create()
        const bytes = randomBytes(1000)
        const writer = await begin(store, digestOf(bytes), 1000)
        await writer.append([bytes])
        await writer.commit()
        await writer.abort()
        await writer.close()
        expect((await readBlob(store, digestOf(bytes)))?.equals(bytes)).toBe(true)
      })

      it('takes no more after its end', async () => {
        const store = await create()
        const bytes = randomBytes(1000)
        const writer = await begin(store, digestOf(bytes), 1000)
        await writer.append([bytes])
        await writer.abort()
        await expect(writer.append([bytes])).rejects.toThrow()
        await expect(writer.commit()).rejects.toThrow()
        await writer.close()
        expect(await store.stat(digestOf(bytes))).toBeUndefined()
      })

      it('does not disturb another of the same digest', async () => {
        const store = await create()
        const bytes = randomBytes(50_000)
        const digest = digestOf(bytes)
        const [one, two, three] = await Promise.all([1, 2, 3].map(() => begin(store, digest, bytes.length)))
        await Promise.all([one!, two!, three!].map((writer) => writer.append([bytes])))
        await three!.abort()
        await Promise.all([one!.commit(), two!.commit()])
        await Promise.all([one!, two!, three!].map((writer) => writer.close()))
        expect((await readBlob(store, digest))?.equals(bytes)).toBe(true)
        expect(await keysOf(store)).toEqual([digest])
      })
    })

    describe('what is not there', () => {
      const nothing = digestOf(Buffer.from('nothing'))

      it('is undefined', async () => {
        const store = await create()
        expect(await store.stat(nothing)).toBeUndefined()
        expect(await store.open(nothing)).toBeUndefined()
        expect(await keysOf(store)).toEqual([])
      })

      it('is deleted with success', async () => {
        const store = await create()
        expect(await store.delete(nothing)).toBe(true)
        expect(await store.delete(nothing, { ifMatch: 'anything' })).toBe(true)
      })
    })

    describe('deleting', () => {
      it('takes away this blob and no other', async () => {
        const store = await create()
        const [one, two] = [randomBytes(100), randomBytes(100)]
        await putBlob(store, one)
        await putBlob(store, two)
        expect(await store.delete(digestOf(one))).toBe(true)
        expect(await readBlob(store, digestOf(one))).toBeUndefined()
        expect(await keysOf(store)).toEqual([digestOf(two)])
      })

      it('asks for the state that was seen', async () => {
        const store = await create()
        const bytes = randomBytes(100)
        await putBlob(store, bytes)
        expect(await store.delete(digestOf(bytes), { ifMatch: 'another' })).toBe(false)
        const { etag } = (await store.stat(digestOf(bytes)))!
        expect((await store.stat(digestOf(bytes)))?.etag).toBe(etag)
        expect(await store.delete(digestOf(bytes), { ifMatch: etag })).toBe(true)
        expect(await store.stat(digestOf(bytes))).toBeUndefined()
      })

      it('lets an open blob go on or fail, but never with other bytes', async () => {
        const store = await create()
        const bytes = randomBytes(100_000)
        await putBlob(store, bytes)
        const blob = (await store.open(digestOf(bytes)))!
        await store.delete(digestOf(bytes))
        const buffer = Buffer.alloc(1000)
        const read = await blob.read(buffer, 70_000).catch(() => undefined)
        if (read !== undefined)
          expect(buffer.subarray(0, read).equals(bytes.subarray(70_000, 70_000 + read))).toBe(true)
        await blob.close()
      })
    })

    it('lists every blob once, with its size and a time', async () => {
      const store = await create()
      const before = Date.now() - 60_000
      const all = Array.from({ length: 25 }, (_, n) => Buffer.from(`blob ${n}`))
      for (const bytes of all) await putBlob(store, bytes)
      const listed = await collect(store.list())
      expect(listed.map(({ digest }) => digest).sort()).toEqual(all.map((bytes) => digestOf(bytes)).sort())
      for (const { digest, size, etag, modifiedAt } of listed) {
        expect(await store.stat(digest)).toEqual({ size, etag })
        expect(modifiedAt).toBeGreaterThan(before)
      }
    })
  })
}

async function keysOf(store: BlobStore): Promise<Digest[]> {
  return (await collect(store.list())).map(({ digest }) => digest)
}
