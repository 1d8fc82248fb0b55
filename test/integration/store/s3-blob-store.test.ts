import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey, SpoiledBlobError } from '../../../proxy/store/blob-store.ts'
import { createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createS3BlobStore, type S3BlobStore } from '../../../proxy/store/s3-blob-store.ts'
import { type Bucket, createBucket } from '../../../proxy/store/s3-bucket.ts'
import { describeBlobStore } from '../../contracts/blob-store.ts'
import { begin, putBlob, readAll, readBlob } from '../../contracts/blobs.ts'
import { noObserver } from '../../proxy/store/temporary-folder.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type S3Server, startS3 } from '../../rig/s3-server.ts'

const mebi = 1024 * 1024

describeWithParts(['versitygw'], 'over a real S3 server', () => {
  let server: S3Server
  const closing: (() => unknown)[] = []
  const failures: string[] = []
  beforeAll(async () => {
    server = await startS3()
    for (const [name, value] of Object.entries(server.credentials)) vi.stubEnv(name, value)
  })
  afterEach(() => {
    failures.length = 0
  })
  afterAll(async () => {
    for (const close of closing) await close()
    vi.unstubAllEnvs()
    await server.close()
  })

  async function replica(name: string, { spoolBytes }: { spoolBytes?: number } = {}): Promise<S3BlobStore> {
    const root = await mkdtemp(join(tmpdir(), 'headwater-hot-'))
    const budget = createDiskBudget({ maxBytes: spoolBytes })
    const hot = await createFileBlobStore({ root, observer: noObserver, budget })
    const observer = { storeFailure: (operation: string) => failures.push(operation) }
    const store = createS3BlobStore({ bucket: bucketOf(name), hot, observer })
    closing.push(
      () => store.settled(),
      () => rm(root, { recursive: true, force: true }),
    )
    return store
  }

  function bucketOf(name: string): Bucket {
    const bucket = createBucket({ bucket: name, endpoint: server.endpoint })
    closing.push(bucket.close)
    return bucket
  }

  async function uploadsIn(name: string): Promise<string[]> {
    const found = await readdir(server.folderOf(name), { recursive: true })
    return found.filter((path) => path.includes('multipart') && !/multipart\/?$/.test(path))
  }

  describeBlobStore('S3', async () => replica(await server.makeBucket()))

  describe('a replica with an empty spool', () => {
    it.each([
      ['0 bytes', 0],
      ['one byte', 1],
      ['1 MiB', mebi],
      ['40 MiB', 40 * mebi],
    ])('reads %s that another wrote, and then has them on disk', async (_, size) => {
      const name = await server.makeBucket()
      const bytes = randomBytes(size)
      await putBlob(await replica(name), bytes)
      const other = await replica(name)
      expect((await readBlob(other, digestOf(bytes)))?.equals(bytes)).toBe(true)
      await other.settled()
      await rm(join(server.folderOf(name), 'blobs'), { recursive: true })
      expect((await readBlob(other, digestOf(bytes)))?.equals(bytes)).toBe(true)
      expect(failures).toEqual([])
    })

    it('reads them once for many readers, wherever each begins', async () => {
      const name = await server.makeBucket()
      const bytes = randomBytes(30 * mebi)
      await putBlob(await replica(name), bytes)
      const other = await replica(name)
      const readers = Array.from({ length: 12 }, async (_, n) => {
        const blob = (await other.open(digestOf(bytes)))!
        const from = n * 2 * mebi
        const buffer = Buffer.alloc(bytes.length - from + 1)
        let at = 0
        for (let read = -1; read !== 0; at += read) read = await blob.read(buffer.subarray(at), from + at)
        await blob.close()
        return buffer.subarray(0, at).equals(bytes.subarray(from))
      })
      expect(new Set(await Promise.all(readers))).toEqual(new Set([true]))
    })

    it('reads them without storing where the spool has no room', async () => {
      const name = await server.makeBucket()
      const bytes = randomBytes(20 * mebi)
      await putBlob(await replica(name), bytes)
      const other = await replica(name, { spoolBytes: 16 * mebi })
      expect((await readBlob(other, digestOf(bytes)))?.equals(bytes)).toBe(true)
      const blob = (await other.open(digestOf(bytes)))!
      const buffer = Buffer.alloc(1000)
      expect(await blob.read(buffer, 15 * mebi)).toBeGreaterThan(0)
      expect(buffer.subarray(0, 500).equals(bytes.subarray(15 * mebi, 15 * mebi + 500))).toBe(true)
      await blob.close()
    })

    it.each([
      ['with room', undefined],
      ['without room', 16 * mebi],
    ])(
      'bucket S12: %s, ends no spoiled object, takes it away, and has none the next time',
      async (_, spoolBytes) => {
        const name = await server.makeBucket()
        const bytes = randomBytes(20 * mebi)
        const digest = digestOf(bytes)
        await putBlob(await replica(name), bytes)
        const spoiled = Buffer.from(bytes)
        spoiled[10 * mebi] = spoiled[10 * mebi]! ^ 1
        await writeFile(join(server.folderOf(name), 'blobs', blobKey(digest)), spoiled)
        const other = await replica(name, spoolBytes === undefined ? {} : { spoolBytes })
        const blob = (await other.open(digest))!
        await expect(readAll(blob, Buffer.alloc(bytes.length + 1))).rejects.toThrow(SpoiledBlobError)
        await blob.close()
        await other.settled()
        expect(await other.open(digest)).toBeUndefined()
        expect(await other.stat(digest)).toBeUndefined()
      },
    )
  })

  describe('a large blob', () => {
    it.each([
      ['known', 40 * mebi + 5],
      ['unknown', undefined],
    ])('of %s size comes in parts, of which nothing is left', async (_, size) => {
      const name = await server.makeBucket()
      const store = await replica(name)
      const bytes = randomBytes(40 * mebi + 5)
      const writer = await begin(store, digestOf(bytes), size)
      for (let at = 0; at < bytes.length; at += mebi) await writer.append([bytes.subarray(at, at + mebi)])
      await expect.poll(() => uploadsIn(name)).not.toEqual([])
      expect(await store.stat(digestOf(bytes))).toBeUndefined()
      await writer.commit()
      await writer.close()
      expect((await store.stat(digestOf(bytes)))?.size).toBe(bytes.length)
      expect((await readBlob(await replica(name), digestOf(bytes)))?.equals(bytes)).toBe(true)
      expect(await uploadsIn(name)).toEqual([])
    })

    it('leaves no part when it is aborted', async () => {
      const name = await server.makeBucket()
      const store = await replica(name)
      const bytes = randomBytes(30 * mebi)
      const writer = await begin(store, digestOf(bytes), bytes.length)
      await writer.append([bytes.subarray(0, 20 * mebi)])
      await expect.poll(() => uploadsIn(name)).not.toEqual([])
      await writer.abort()
      await writer.close()
      await store.settled()
      expect(await uploadsIn(name)).toEqual([])
    })

    it('bucket S14: written by two at once is there once, and neither fails', async () => {
      const name = await server.makeBucket()
      const bytes = randomBytes(20 * mebi)
      const stores = [await replica(name), await replica(name)]
      await Promise.all(stores.map((store) => putBlob(store, bytes)))
      expect((await readBlob(await replica(name), digestOf(bytes)))?.equals(bytes)).toBe(true)
      expect(await uploadsIn(name)).toEqual([])
    })
  })
})
