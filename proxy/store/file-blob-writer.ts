import { writev } from 'node:fs'
import { rm } from 'node:fs/promises'
import { type BlobWriter, NoRoomError, SpoiledBlobError } from './blob-store.ts'
import type { Descriptor } from './descriptor.ts'
import { bytesOnDisk, type DiskBudget } from './disk-budget.ts'
import { asNoRoom } from './durability.ts'

/** Room for a size that is not known is taken in steps, so that a running fill seldom waits for the budget. */
const stepBytes = 1024 * 1024

export interface SpoolFile {
  readonly path: string
  readonly descriptor: Descriptor
  /** Taken from the budget for it. */
  readonly reserved: number
  readonly budget: DiskBudget
  /** Makes the bytes durable under their name; `placed` is called as soon as they have it. */
  place(size: number, placed: () => void): Promise<void>
  /** The number of bytes in unfinished blobs changed. */
  spooled(bytes: number): void
  /** Nobody reads the spool file any more. */
  closed(): void
}

export function createFileBlobWriter(file: SpoolFile): BlobWriter {
  const { path, descriptor, budget } = file
  let reserved = file.reserved
  let size = 0
  let state: 'open' | 'committing' | 'committed' | 'aborted' = 'open'
  let committing: Promise<void> | undefined
  let appending = false
  /** An append failed half-way: the file may be longer than what was appended. */
  let torn = false
  let closing: Promise<void> | undefined

  function assertWritable(): void {
    if (state !== 'open' || torn || appending) {
      throw new Error(`the blob is ${torn ? 'torn' : appending ? 'being appended to' : state}`)
    }
  }

  async function reserve(needed: number): Promise<void> {
    const missing = bytesOnDisk(needed) - reserved
    if (missing <= 0) return
    const step = Math.max(missing, stepBytes)
    const taken = (await budget.take(step)) ? step : (await budget.take(missing)) ? missing : undefined
    if (taken === undefined) throw new NoRoomError('the limit of bytes on disk is reached')
    if (closing) budget.charge(-taken)
    else reserved += taken
  }

  async function finish(): Promise<void> {
    try {
      await file.place(size, () => {
        // What the blob takes belongs to the store from now on.
        budget.charge(bytesOnDisk(size) - reserved)
        reserved = 0
        file.spooled(-size)
        state = 'committed'
      })
    } catch (error) {
      if (state === 'committing') state = 'open'
      throw asNoRoom(error)
    }
  }

  async function abort(): Promise<void> {
    await committing?.catch(() => undefined)
    if (state !== 'open') return
    state = 'aborted'
    file.spooled(-size)
    await rm(path, { force: true })
  }

  async function end(): Promise<void> {
    try {
      await abort()
    } finally {
      await descriptor.close()
      // Only now does an aborted file, which has no name any more, give its blocks back.
      budget.charge(-reserved)
      file.closed()
    }
  }

  return {
    async append(chunks) {
      assertWritable()
      appending = true
      try {
        const bytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
        await reserve(size + bytes)
        await descriptor.during((fd) => writeAll(fd, chunks, size))
        size += bytes
        // An abort may have come meanwhile.
        if (state === 'open') file.spooled(bytes)
      } catch (error) {
        torn = true
        throw asNoRoom(error)
      } finally {
        appending = false
      }
    },

    async read(buffer, position) {
      const length = Math.min(buffer.length, size - position)
      if (length <= 0) return 0
      const bytesRead = await descriptor.read(buffer, length, position)
      if (bytesRead === 0) throw new SpoiledBlobError('the spool file is shorter than what was written to it')
      return bytesRead
    },

    async commit() {
      assertWritable()
      state = 'committing'
      committing = finish()
      await committing
    },

    abort,

    close() {
      closing ??= end()
      return closing
    },
  }
}

async function writeAll(fd: number, chunks: readonly Uint8Array[], position: number): Promise<void> {
  let rest = chunks.filter((chunk) => chunk.length > 0)
  let at = position
  while (rest.length > 0) {
    const written = await write(fd, rest, at)
    at += written
    rest = dropBytes(rest, written)
  }
}

function write(fd: number, chunks: Uint8Array[], position: number): Promise<number> {
  return new Promise((resolve, reject) => {
    writev(fd, chunks, position, (error, written) => {
      if (error) reject(error)
      else resolve(written)
    })
  })
}

/** A write that came up short, as one does when the disk fills, is taken up again: the next one says why. */
function dropBytes(chunks: Uint8Array[], bytes: number): Uint8Array[] {
  let left = bytes
  return chunks.flatMap((chunk) => {
    const dropped = Math.min(left, chunk.length)
    left -= dropped
    return dropped === chunk.length ? [] : [chunk.subarray(dropped)]
  })
}
