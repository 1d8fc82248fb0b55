import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import {
  type BlobStore,
  NoRoomError,
  type OpenBlob,
  type RestOfBlob,
  SpoiledBlobError,
} from '../store/blob-store.ts'
import type { BlobBody } from './pull.ts'
import { createSingleFlight, keyOf } from './single-flight.ts'
import { createMemoryBody, createStoredBody } from './stored-body.ts'

/**
 * Stored bytes, with those of small size kept in memory too. Knows nothing of who may have them. What is found spoiled is
 * taken away, and absent: of another size, or not to be read, and what comes into memory also when its digest is another.
 */
export interface Content {
  /** Undefined when absent. `rest` is the store's, for what does not come into memory. */
  open(digest: Digest, size: number, rest?: RestOfBlob): Promise<BlobBody | undefined>
  /** A URL to send a client to instead, a secret for a minute; undefined where there is none, or it cannot be said now. */
  locate(digest: Digest, size: number): Promise<string | undefined>
  /** The whole of it, for manifests. Undefined when absent; throws StoreUnavailableError when it is there and not given. */
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
  const reads = createSingleFlight<Buffer | undefined>()

  /** Throws SpoiledBlobError for what it has taken away. */
  async function openStored(digest: Digest, size: number, rest?: RestOfBlob): Promise<OpenBlob | undefined> {
    const blob = await blobs.open(digest, rest)
    if (!blob || blob.size === size) return blob
    const error = new SpoiledBlobError(`stored ${digest} has ${blob.size} bytes instead of ${size}`)
    await takeAway(blob, error)
    await blob.close()
    throw error
  }

  async function takeAway(blob: OpenBlob, error: SpoiledBlobError): Promise<void> {
    observer.storeFailure('blob.spoiled', error)
    await blob.discard().catch((failure: unknown) => observer.storeFailure('blob.discard', failure))
  }

  async function bytes(digest: Digest, size: number): Promise<Buffer | undefined> {
    return memory.get(digest) ?? reads(keyOf(digest, `${size}`), () => fromCopies(() => read(digest, size)))
  }

  /** Throws SpoiledBlobError for what it has taken away. */
  async function read(digest: Digest, size: number): Promise<Buffer | undefined> {
    const blob = await openStored(digest, size)
    if (!blob) return undefined
    try {
      const whole = await readWhole(blob)
      if (digestOf(whole, algorithmOf(digest)) !== digest)
        throw new SpoiledBlobError(`stored ${digest} has other bytes`)
      memory.set(digest, whole)
      return whole
    } catch (error) {
      if (error instanceof SpoiledBlobError) await takeAway(blob, error)
      throw error
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

    async open(digest, size, rest) {
      if (size <= maxMemoryBlobBytes) {
        const whole = await bytes(digest, size)
        return whole && createMemoryBody(whole)
      }
      const blob = await fromCopies(() => openStored(digest, size, rest))
      return blob && createStoredBody(blob, (error) => takeAway(blob, error))
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

/** Behind a copy on our own disk that is spoiled S3 may have the blob as it was. */
async function fromCopies<T>(attempt: () => Promise<T | undefined>): Promise<T | undefined> {
  for (let copies = 2; copies > 0; copies--) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof SpoiledBlobError)) throw error
    }
  }
  return undefined
}

async function readWhole(blob: OpenBlob): Promise<Buffer> {
  const whole = Buffer.allocUnsafeSlow(blob.size)
  for (let position = 0; position < whole.length; ) {
    const read = await blob.read(whole.subarray(position), position)
    if (read === 0) throw new SpoiledBlobError('the stored blob is shorter than its size')
    position += read
  }
  return whole
}
