import { randomUUID } from 'node:crypto'
import { constants, fstatSync, open as openFile } from 'node:fs'
import { rm, stat, statfs } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import { createBlobLedger, type HeldBlob } from './blob-ledger.ts'
import { type BlobStore, blobKey, type DeleteFailure, type OpenBlob, SpoiledBlobError } from './blob-store.ts'
import { createDescriptor, type Descriptor } from './descriptor.ts'
import { bytesOnDisk, createDiskBudget, type DiskBudget, folderBytes } from './disk-budget.ts'
import { createDurability, hasCode, makeRoot } from './durability.ts'
import { createFileBlobWriter } from './file-blob-writer.ts'
import { createKeyedLock } from './keyed-lock.ts'
import {
  digestAt,
  type Leftover,
  listBlobFiles,
  listLeftovers,
  makeEmpty,
  present,
  takeInventory,
} from './stored-files.ts'

export interface FileBlobStore extends BlobStore {
  /** Spool files, of running fills too: only their age tells. */
  leftovers(): AsyncIterable<Leftover>
  /** Spool files of no running fill. */
  orphans(): AsyncIterable<Leftover>
  deleteMany(blobs: readonly { digest: Digest; etag: string }[]): Promise<readonly DeleteFailure[]>
}

export interface FileBlobStoreOptions {
  readonly root: string
  /** Under a limit, the blobs used longest ago make room for others; see `disk-budget.ts`. */
  readonly budget?: DiskBudget
  readonly observer: Pick<Observer, 'spoolBytes' | 'storedBytes' | 'evicted'>
  /** False for one who only looks, beside a process that writes. */
  readonly owner?: boolean
}

/**
 * Blobs as files. A blob is written into `.spool` on the same file system; commit is fsync of the file, rename, fsync of
 * the folder. Only one process may own the folder: it sweeps, on its start, what the one before left unfinished.
 */
export async function createFileBlobStore({
  root: folder,
  budget = createDiskBudget({ maxBytes: undefined }),
  observer,
  owner = true,
}: FileBlobStoreOptions): Promise<FileBlobStore> {
  const root = owner ? await makeRoot(folder) : resolve(folder)
  const spool = join(root, '.spool')
  const durability = createDurability({ root, folderMade: () => budget.charge(folderBytes) })
  const locked = createKeyedLock()
  // A look must not count as a use.
  const readFlags = constants.O_RDONLY | (owner ? 0 : (constants.O_NOATIME ?? 0))
  const ledger = budget.limited ? createBlobLedger({ freed }) : undefined
  const spooling = new Set<string>()
  let spooled = 0
  let stored = 0

  if (owner) await makeEmpty(spool)
  if (ledger) await takeStock()
  else if (owner) void countStored()

  function pathOf(digest: Digest): string {
    return join(root, blobKey(digest))
  }

  function changeStored(bytes: number): void {
    stored += bytes
    observer.storedBytes(stored)
  }

  function changeSpooled(bytes: number): void {
    spooled += bytes
    observer.spoolBytes(spooled)
  }

  function freed(bytes: number): void {
    budget.charge(-bytes)
    changeStored(-bytes)
  }

  /** The last use outlives a restart as far as the file system keeps times of access; else it is the time of writing. */
  async function takeStock(): Promise<void> {
    const found: { digest: Digest; bytes: number; usedAt: number }[] = []
    for (const { path, stats } of takeInventory(root)) {
      const digest = digestAt(path)
      const bytes = stats.isDirectory() ? folderBytes : bytesOnDisk(stats.size)
      budget.charge(bytes)
      if (digest) found.push({ digest, bytes, usedAt: Math.max(stats.atimeMs, stats.mtimeMs) })
    }
    found.sort((a, b) => a.usedAt - b.usedAt)
    for (const { digest, bytes } of found) {
      ledger?.add(digest, bytes)
      changeStored(bytes)
    }
    budget.evictWith({ evictable: () => ledger?.evictable() ?? 0, evictOne })
    await budget.trim()
  }

  /** For the metric alone, so nothing waits for it and no failure matters. What is newer has been counted already. */
  async function countStored(): Promise<void> {
    const startedAt = Date.now()
    try {
      for await (const { stats } of listBlobFiles(root)) {
        if (stats.mtimeMs < startedAt) changeStored(bytesOnDisk(stats.size))
      }
    } catch {
      // A folder that cannot be read shows where it is needed.
    }
  }

  async function evictOne(): Promise<boolean> {
    const oldest = ledger?.takeOldest()
    if (!oldest) return false
    await locked(oldest.digest, async () => {
      // Another may have been committed meanwhile: then its name is no longer this one's.
      if (!ledger?.has(oldest.digest)) await rm(pathOf(oldest.digest), { force: true })
    })
    freed(oldest.bytes)
    observer.evicted(oldest.bytes)
    return true
  }

  async function openHeld(digest: Digest, held: HeldBlob | undefined): Promise<OpenBlob | undefined> {
    const fd = await present(openDescriptor(pathOf(digest), readFlags))
    if (fd === undefined) {
      if (held) ledger?.remove(digest, held)
      return undefined
    }
    const descriptor = createDescriptor(fd)
    // Of an open file this asks no disk, and costs less than a trip to another thread.
    const stats = fstatSync(fd)
    const { size } = stats
    let closing: Promise<void> | undefined
    return {
      size,
      read: (buffer, position) => readStored(descriptor, buffer, position, size),
      async discard() {
        if (owner) await deleteOne(digest, etagOf(stats))
      },
      close() {
        closing ??= descriptor.close().then(() => held && ledger?.release(held))
        return closing
      },
    }
  }

  function deleteOne(digest: Digest, ifMatch: string | undefined): Promise<boolean> {
    return locked(digest, async () => {
      const path = pathOf(digest)
      const stats = await present(stat(path))
      if (ifMatch !== undefined && stats && etagOf(stats) !== ifMatch) return false
      await rm(path, { force: true })
      const removed = ledger?.remove(digest)
      if (removed?.open === 0) freed(removed.bytes)
      if (!ledger && stats) freed(bytesOnDisk(stats.size))
      return true
    })
  }

  return {
    async stat(digest) {
      const stats = await present(stat(pathOf(digest)))
      return stats && { size: stats.size, etag: etagOf(stats) }
    },

    async open(digest) {
      const held = ledger?.hold(digest)
      if (ledger && !held) return undefined
      let blob: OpenBlob | undefined
      try {
        blob = await openHeld(digest, held)
        return blob
      } finally {
        if (!blob && held) ledger?.release(held)
      }
    },

    async create(digest, size) {
      if (size !== undefined && (await freeBytes(root)) < size) return undefined
      const reserved = bytesOnDisk(size ?? 0)
      if (!(await budget.take(reserved))) return undefined
      const path = join(spool, randomUUID())
      const { O_CREAT, O_EXCL, O_RDWR } = constants
      const fd = await openDescriptor(path, O_CREAT | O_EXCL | O_RDWR).catch((error) => {
        budget.charge(-reserved)
        if (hasCode(error, 'ENOSPC', 'EDQUOT')) return undefined
        throw error
      })
      if (fd === undefined) return undefined

      spooling.add(path)
      const descriptor = createDescriptor(fd)
      let held: HeldBlob | undefined
      return createFileBlobWriter({
        path,
        descriptor,
        reserved,
        budget,
        spooled: changeSpooled,
        async place(written, placed) {
          await descriptor.during(durability.syncFile)
          await locked(digest, async () => {
            const before = ledger ? undefined : await present(stat(pathOf(digest)))
            await durability.moveInto(path, pathOf(digest), () => {
              placed()
              changeStored(bytesOnDisk(written))
              if (before) freed(bytesOnDisk(before.size))
              const { replaced } = ledger?.add(digest, bytesOnDisk(written)) ?? {}
              if (replaced?.open === 0) freed(replaced.bytes)
              // The writer reads on: not to be evicted under its readers.
              held = ledger?.hold(digest)
            })
          })
        },
        closed() {
          spooling.delete(path)
          if (held) ledger?.release(held)
        },
      })
    },

    delete: (digest, condition) => deleteOne(digest, condition?.ifMatch),

    async deleteMany(blobs) {
      const failures: DeleteFailure[] = []
      for (const { digest, etag } of blobs) {
        try {
          if (!(await deleteOne(digest, etag))) failures.push({ digest, reason: 'it is another now' })
        } catch (error) {
          failures.push({ digest, reason: (error as Error).message })
        }
      }
      return failures
    },

    async *list() {
      for await (const { digest, stats } of listBlobFiles(root)) {
        yield { digest, size: stats.size, etag: etagOf(stats), modifiedAt: stats.mtimeMs }
      }
    },

    leftovers: () => listLeftovers(spool),

    async *orphans() {
      for await (const leftover of listLeftovers(spool)) {
        if (!spooling.has(leftover.path)) yield leftover
      }
    },
  }
}

async function readStored(descriptor: Descriptor, buffer: Uint8Array, position: number, size: number) {
  const length = Math.min(buffer.length, size - position)
  if (length <= 0) return 0
  const bytesRead = await descriptor.read(buffer, length, position).catch((cause: unknown) => {
    throw hasCode(cause, 'EIO') ? new SpoiledBlobError('the blob cannot be read', { cause }) : cause
  })
  if (bytesRead === 0) throw new SpoiledBlobError('the blob is shorter than it was when it was opened')
  return bytesRead
}

function openDescriptor(path: string, flags: number): Promise<number> {
  return new Promise((resolve, reject) => {
    openFile(path, flags, 0o600, (error, fd) => (error ? reject(error) : resolve(fd)))
  })
}

function etagOf({ ino, mtimeMs, size }: { ino: number; mtimeMs: number; size: number }): string {
  return `${ino}-${mtimeMs}-${size}`
}

/** Infinite where the file system does not say. */
async function freeBytes(path: string): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(path)
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize
}
