import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import { type RestOfBlob, SpoiledBlobError } from './blob-store.ts'
import { StoreTimeoutError, StoreUnavailableError } from './breaker.ts'
import { type ObjectBody, withDeadlines } from './s3-body.ts'
import { BodyParkedError } from './s3-places.ts'

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
  readonly rest: RestOfBlob | undefined
  /** S3 does not give all of it, however often it is asked. */
  readonly onWithheld: (error: unknown) => void
  /** Never rejects. */
  readonly discard: () => Promise<void>
}

/** Of which falling silent counts as two: somebody waits for it. */
const maxResumes = 3
/** So much of one body makes up for the resumes before it. */
const goodBytes = 16 * 1024 * 1024
/** Of what is not S3's. */
const restIdleMs = 20_000

export function createRemoteReader(object: RemoteObject, first?: ObjectBody): RemoteReader {
  const { size } = object
  let stream = first && createCheckedStream(object, first, 0)
  let pending: Uint8Array = new Uint8Array(0)
  let at = 0
  let turn: Promise<unknown> = Promise.resolve()
  let closed = false

  async function read(buffer: Uint8Array, position: number): Promise<number> {
    if (position >= size || buffer.length === 0) return 0
    if (!stream || position !== at) {
      stream?.destroy()
      stream = createCheckedStream(object, undefined, position)
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

/**
 * An object's bytes from `start` to its end, through cuts and stalls of S3. Where it gives no more of them they go on from
 * elsewhere, if they were hashed from the first on: of what two places sent only the digest says that it is one blob.
 */
export interface CheckedStream {
  /**
   * Never empty; not called again after the last byte. Instead of the last piece, where the digest does not hold, it throws
   * SpoiledBlobError, and StoreUnavailableError where not all bytes were S3's.
   */
  next(): Promise<Uint8Array>
  destroy(): void
}

export function createCheckedStream(
  object: RemoteObject,
  first: ObjectBody | undefined,
  start: number,
): CheckedStream {
  const { digest, size, reopen, onWithheld, discard } = object
  const hasher = start === 0 ? hasherFor(digest) : undefined
  const rest = hasher && object.rest
  const stopping = new AbortController()
  let body = first
  let received = start
  let resumes = 0
  let openedAt = start
  let isElsewhere = false

  async function openBody(): Promise<ObjectBody> {
    const opened = isElsewhere ? await openRest() : await reopen(received)
    if (!opened) throw new SpoiledBlobError('the object is gone, or another one')
    openedAt = received
    if (!stopping.signal.aborted) return opened
    opened.destroy()
    throw stopping.signal.reason
  }

  async function openRest(): Promise<ObjectBody> {
    const stream = await rest!(received, stopping.signal)
    return withDeadlines(stream, { length: size - received, idleMs: restIdleMs })
  }

  async function nextPiece(): Promise<Uint8Array> {
    body ??= await openBody()
    const piece = await body.next()
    if (!piece) throw new Error('the body ended before its size')
    return piece
  }

  async function nextPieceOrResume(): Promise<Uint8Array> {
    for (;;) {
      try {
        return await nextPiece()
      } catch (error) {
        body?.destroy()
        body = undefined
        stopping.signal.throwIfAborted()
        if (!(error instanceof BodyParkedError)) resumeAfter(error)
      }
    }
  }

  /** Throws where nobody goes on. */
  function resumeAfter(error: unknown): void {
    const isGone = error instanceof SpoiledBlobError
    if (received - openedAt >= goodBytes) resumes = 0
    openedAt = received
    resumes += error instanceof StoreTimeoutError ? 2 : 1
    if (!isGone && resumes <= maxResumes) return
    if (!isElsewhere) onWithheld(error)
    if (!rest || isElsewhere)
      throw isGone ? error : new StoreUnavailableError('S3 does not give all of the object', { cause: error })
    isElsewhere = true
    resumes = maxResumes - 1 // others are asked no more than twice
  }

  /** What was not S3's alone says nothing of the stored object, which may be another repository's too. */
  async function mismatch(): Promise<Error> {
    if (isElsewhere)
      return new StoreUnavailableError('what S3 and the upstream gave together has another digest')
    await discard()
    return new SpoiledBlobError('the stored bytes have another digest')
  }

  return {
    async next() {
      const piece = await nextPieceOrResume()
      received += piece.length
      hasher?.update(piece)
      if (received > size || (received === size && hasher && hasher.digest('hex') !== hexOf(digest))) {
        body?.destroy()
        throw await mismatch()
      }
      return piece
    },
    destroy() {
      stopping.abort(new StoreUnavailableError('nobody reads the object any more'))
      body?.destroy()
    },
  }
}
