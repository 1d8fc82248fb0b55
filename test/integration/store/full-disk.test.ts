import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { begin, putBlob, readAll, readBlob } from '../../contracts/blobs.ts'
import { collect } from '../../contracts/collect.ts'
import { noObserver as observer, temporaryFolder } from '../../proxy/store/temporary-folder.ts'
import { describeAsRoot } from './programs.ts'

const mebibyte = 1024 * 1024

describeAsRoot('a disk of 4 MiB', () => {
  it('takes no blob that is known not to fit', async () => {
    const { blobs, root } = await smallDisk()
    expect(await blobs.create(digestOf(Buffer.from('x')), 5 * mebibyte)).toBeUndefined()
    expect(await readdir(join(root, 'blobs/.spool'))).toEqual([])
  })

  it('ends a blob of unknown size with NoRoomError, and has nothing left of it', async () => {
    const { blobs, root } = await smallDisk()
    const free = await freeBytes(root)
    const bytes = randomBytes(6 * mebibyte)
    const writer = await begin(blobs, digestOf(bytes), undefined)
    let appended = 0
    const fill = async () => {
      // Not a divisor of the disk: the last write comes up short before the next one fails.
      for (const step = 100_001; appended < bytes.length; appended += step) {
        await writer.append([
          bytes.subarray(appended, appended + step / 3),
          bytes.subarray(appended + step / 3, appended + step),
        ])
      }
    }
    await expect(fill()).rejects.toMatchObject({ name: 'NoRoomError' })
    expect(appended).toBeGreaterThan(3 * mebibyte)
    expect((await readAll(writer, Buffer.alloc(bytes.length))).equals(bytes.subarray(0, appended))).toBe(true)
    await expect(writer.commit()).rejects.toThrow()
    await writer.abort()
    await writer.close()
    expect(await blobs.stat(digestOf(bytes))).toBeUndefined()
    expect(await collect(blobs.leftovers())).toEqual([])
    expect(await freeBytes(root)).toBe(free)
  })

  it('says so for documents, keeps the old one, and works again when there is room', async () => {
    const { blobs, documents } = await smallDisk()
    await documents.put('a', 'old')
    const filler = randomBytes(3_900_000)
    const writer = await begin(blobs, digestOf(filler), undefined)
    await writer.append([filler]).catch(() => undefined)
    await expect(documents.put('a', 'x'.repeat(1_000_000))).rejects.toMatchObject({ name: 'NoRoomError' })
    expect((await documents.get('a'))?.body).toBe('old')
    expect(await collect(documents.leftovers())).toEqual([])
    await writer.close()

    await documents.put('a', 'x'.repeat(1_000_000))
    const bytes = randomBytes(mebibyte)
    await putBlob(blobs, bytes)
    expect(await readBlob(blobs, digestOf(bytes))).toEqual(bytes)
  })
})

async function smallDisk() {
  const folder = await temporaryFolder()
  const root = join(folder, 'disk')
  await mkdir(root)
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'headwater-test', root])
  onTestFinished(() => {
    execFileSync('umount', ['-l', root])
  })
  const blobs = await createFileBlobStore({ root: join(root, 'blobs'), observer })
  const documents = await createFileDocumentStore({ root: join(root, 'documents') })
  return { root, blobs, documents }
}

async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}
