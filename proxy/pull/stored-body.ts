import type { OpenBlob } from '../store/blob-store.ts'
import type { BlobBody } from './pull.ts'

/** Reads a stored blob, and closes it when the body is closed and its last read has ended. */
export function createStoredBody(open: OpenBlob): BlobBody {
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
