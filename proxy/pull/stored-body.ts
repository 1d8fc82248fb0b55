import { type OpenBlob, SpoiledBlobError } from '../store/blob-store.ts'
import type { BlobBody } from './pull.ts'

/**
 * Reads a stored blob, and closes it when the body is closed and its last read has ended. A read that finds it spoiled fails
 * once `onSpoiled` has ended.
 */
export function createStoredBody(
  open: OpenBlob,
  onSpoiled: (error: SpoiledBlobError) => Promise<void>,
): BlobBody {
  let reading = 0
  let closed = false

  const closeIfIdle = () => {
    if (closed && reading === 0) void open.close().catch(() => {}) // all was read: nobody is left to tell
  }

  return {
    size: open.size,
    bytes: undefined,
    async read(buffer, position) {
      if (closed) throw new BodyClosedError()
      reading++
      try {
        return await open.read(buffer, position)
      } catch (error) {
        if (error instanceof SpoiledBlobError) await onSpoiled(error)
        throw error
      } finally {
        reading--
        closeIfIdle()
      }
    },
    close() {
      if (closed) return
      closed = true
      closeIfIdle()
    },
  }
}

/** Another body where the very first read of this one fails; later the client has bytes of it, and is cut. */
export function createBodyOr(first: BlobBody, instead: (error: unknown) => Promise<BlobBody>): BlobBody {
  let body = first
  let begun = false
  let closed = false

  async function change(error: unknown): Promise<void> {
    body.close()
    body = await instead(error)
    if (closed) body.close()
  }

  async function readFirst(buffer: Uint8Array, position: number): Promise<number> {
    try {
      return await body.read(buffer, position)
    } catch (error) {
      if (closed) throw error
      await change(error)
    }
    return body.read(buffer, position)
  }

  return {
    size: first.size,
    bytes: undefined,
    read(buffer, position) {
      if (begun) return body.read(buffer, position)
      begun = true
      return readFirst(buffer, position)
    },
    close() {
      closed = true
      body.close()
    },
  }
}

export function createMemoryBody(bytes: Buffer): BlobBody {
  return {
    size: bytes.length,
    bytes,
    read: (buffer, position) => Promise.resolve(bytes.copy(buffer, 0, Math.min(position, bytes.length))),
    close() {},
  }
}

/** What a pending `read` of a closed body throws: nobody waits for it. */
export class BodyClosedError extends Error {
  override readonly name = 'BodyClosedError'
  constructor() {
    super('the body was closed')
  }
}
