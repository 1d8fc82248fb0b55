import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import { SpoiledBlobError } from './blob-store.ts'
import { StoreUnavailableError } from './breaker.ts'
import type { ObjectBody } from './s3-body.ts'

/** An object that is read where it is, in order as far as may be; every other way costs a request. */
export interface RemoteReader {
  /** As an OpenBlob's. What was read from the first byte on gives its last piece only when the digest holds. */
  read(buffer: Uint8Array, position: number): Promise<number>
  close(): void
}

export interface RemoteObject {
  readonly digest: Digest
  readonly size: number
  /** Of the very object there was, or undefined; throws when S3 is away. */
  readonly reopen: (start: number) => Promise<ObjectBody | undefined>
  readonly onSpoiled: () => void
}

const maxResumes = 3

export function createRemoteReader(object: RemoteObject, first?: ObjectBody): RemoteReader {
  const { digest, size, reopen, onSpoiled } = object
  let stream = first && createCheckedStream(object, first, 0)
  let pending: Uint8Array = new Uint8Array(0)
  let at = 0
  let turn: Promise<unknown> = Promise.resolve()
  let closed = false

  async function read(buffer: Uint8Array, position: number): Promise<number> {
    if (position >= size || buffer.length === 0) return 0
    if (!stream || position !== at) {
      stream?.destroy()
      stream = createCheckedStream({ digest, size, reopen, onSpoiled }, undefined, position)
      pending = new Uint8Array(0)
      at = position
    }
    if (pending.length === 0) pending = await stream.next()
    if (closed) stream.destroy()
    const length = Math.min(buffer.length, pending.length)
    buffer.set(pending.subarray(0, length))
    pending = pending.subarray(length)
    at += length
    return length
  }

  return {
    read(buffer, position) {
      const reading = turn.then(() => read(buffer, position))
      turn = reading.catch(() => undefined)
      return reading
    },
    close() {
      closed = true
      stream?.destroy()
    },
  }
}

/** An object's bytes from `start` to its end, through cuts and stalls of S3. */
export interface CheckedStream {
  /** Never empty; not called again after the last byte. Throws SpoiledBlobError instead of the last piece where the digest does not hold. */
  next(): Promise<Uint8Array>
  destroy(): void
}

export function createCheckedStream(
  { digest, size, reopen, onSpoiled }: RemoteObject,
  first: ObjectBody | undefined,
  start: number,
): CheckedStream {
  const hasher = start === 0 ? hasherFor(digest) : undefined
  let body = first
  let received = start
  let resumes = 0

  async function nextPiece(): Promise<Uint8Array> {
    body ??= await reopen(received)
    if (!body) throw new SpoiledBlobError('the object is gone, or another one')
    const piece = await body.next()
    if (!piece) throw new Error('S3 ended the object before its size')
    return piece
  }

  async function nextPieceOrResume(): Promise<Uint8Array> {
    for (;;) {
      try {
        return await nextPiece()
      } catch (error) {
        body?.destroy()
        body = undefined
        resumes += 1
        if (error instanceof SpoiledBlobError) throw error
        if (resumes > maxResumes)
          throw new StoreUnavailableError('S3 does not give all of the object', { cause: error })
      }
    }
  }

  return {
    async next() {
      const piece = await nextPieceOrResume()
      received += piece.length
      hasher?.update(piece)
      if (received > size || (received === size && hasher && hasher.digest('hex') !== hexOf(digest))) {
        body?.destroy()
        onSpoiled()
        throw new SpoiledBlobError('the stored bytes have another digest')
      }
      return piece
    },
    destroy() {
      resumes = maxResumes
      body?.destroy()
    },
  }
}
