import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore, OpenBlob } from '../store/blob-store.ts'
import { NoRoomError } from '../store/blob-store.ts'
import type { BlobBody } from './pull.ts'
import { createMemoryBody, createStoredBody } from './stored-body.ts'

/** Stored bytes, with those of small size kept in memory too. Knows nothing of who may have them. */
export interface Content {
  /** Undefined when absent; also when the stored size is not `size`: the spoiled blob is then taken away. */
  open(digest: Digest, size: number): Promise<BlobBody | undefined>
  /** A URL to send a client to instead, a secret for a minute; undefined where there is none, or it cannot be said now. */
  locate(digest: Digest, size: number): Promise<string | undefined>
  /** The whole of it, for manifests. */
  bytes(digest: Digest, size: number): Promise<Buffer | undefined>
  has(digest: Digest, size: number): Promise<boolean>
  /** For a link of what is here already: true when it is there to stay. What memory alone has is stored again. */
  retain(digest: Digest, size: number): Promise<boolean>
  /** Held in memory as if read from the store. */
  keep(digest: Digest, bytes: Buffer): void
  /** Stores verified bytes; a full disk or budget leaves them in memory alone, and says so. */
  store(digest: Digest, bytes: Buffer): Promise<void>
}

export const maxMemoryBlobBytes = 1024 * 1024
const memoryBytes = 64 * 1024 * 1024

export function createContent({ blobs, observer }: { blobs: BlobStore; observer: Observer }): Content {
  const memory = new LRUCache<Digest, Buffer>({
    maxSize: memoryBytes,
    sizeCalculation: (bytes) => bytes.length + 200,
    maxEntrySize: 4 * maxMemoryBlobBytes + 200,
  })

  async function openStored(digest: Digest, size: number): Promise<OpenBlob | undefined> {
    const blob = await blobs.open(digest)
    if (!blob || blob.size === size) return blob
    await blob.close()
    const stat = await blobs.stat(digest)
    if (stat && stat.size !== size) await blobs.delete(digest, { ifMatch: stat.etag })
    observer.storeFailure(
      'blob.size',
      new Error(`stored ${digest} has ${blob.size} bytes instead of ${size}`),
    )
    return undefined
  }

  async function bytes(digest: Digest, size: number): Promise<Buffer | undefined> {
    const held = memory.get(digest)
    if (held) return held
    const blob = await openStored(digest, size)
    if (!blob) return undefined
    try {
      const whole = await readWhole(blob)
      memory.set(digest, whole)
      return whole
    } finally {
      await blob.close()
    }
  }

  async function store(digest: Digest, whole: Buffer): Promise<boolean> {
    const writer = await blobs.create(digest, whole.length)
    if (!writer) {
      observer.storeFailure('blob.create', new NoRoomError('no room for a manifest'))
      return false
    }
    try {
      await writer.append([whole])
      await writer.commit()
      return true
    } catch (error) {
      await writer.abort()
      throw error
    } finally {
      await writer.close()
    }
  }

  return {
    bytes,

    async open(digest, size) {
      if (size <= maxMemoryBlobBytes) {
        const whole = await bytes(digest, size)
        return whole && createMemoryBody(whole)
      }
      const blob = await openStored(digest, size)
      return blob && createStoredBody(blob)
    },

    locate: async (digest, size) => blobs.presign?.(digest, size),

    async has(digest, size) {
      if (memory.has(digest)) return true
      return (await blobs.stat(digest))?.size === size
    },

    async retain(digest, size) {
      const stat = await (blobs.retain?.(digest) ?? blobs.stat(digest))
      if (stat) return stat.size === size
      const held = memory.get(digest)
      return held !== undefined && store(digest, held)
    },

    keep(digest, held) {
      memory.set(digest, ofItsOwn(held))
    },

    async store(digest, whole) {
      await store(digest, whole)
    },
  }
}

/** A small buffer is a piece of a larger one, all of which would stay in memory for it. */
function ofItsOwn(bytes: Buffer): Buffer {
  if (bytes.buffer.byteLength === bytes.length) return bytes
  const own = Buffer.allocUnsafeSlow(bytes.length)
  bytes.copy(own)
  return own
}

async function readWhole(blob: OpenBlob): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(blob.size)
  for (let position = 0; position < whole.length; ) {
    const read = await blob.read(whole.subarray(position), position)
    if (read === 0) throw new Error('the stored blob is shorter than its size')
    position += read
  }
  return whole
}
