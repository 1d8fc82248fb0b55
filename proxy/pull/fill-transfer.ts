import type { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import type { Observer } from '../observer.ts'
import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import { BusyError, UpstreamError } from '../upstream/errors.ts'

/** Where the bytes of one blob come from, opened as often as it takes. */
export interface FillSource {
  /** `<namespace>/<name>`, for the observer. */
  readonly upstream: string
  /** Opens the transfer at a byte, or at 0 where the source knows no ranges. Throws UpstreamError. */
  open(start: number, signal: AbortSignal): Promise<OpenedSource>
}

export interface OpenedSource {
  /** Read to its end or destroyed by the transfer. Its errors are UpstreamError. */
  readonly body: Readable
  /** The position of the body's first byte: 0, or what was asked for. */
  readonly start: number
  /** Of the whole blob, where the source says. */
  readonly size: number | undefined
  /** The end of the body proves nothing: it was told by the close of the connection alone. */
  readonly endsByClose: boolean
  /** The body's chunks are handed over for good: the transfer frees their memory as it goes. */
  readonly givesChunks?: boolean
}

export interface TransferLimits {
  /** How often a cut source is opened again, in all; attempts that bring nothing count. */
  readonly resumes: number
  /** Before the first resume; doubles with each. */
  readonly pauseMs: number
  /** A source that brings less than `slowBytes` in `slowMs`, while nobody holds it back, is as good as cut. */
  readonly slowBytes: number
  readonly slowMs: number
  /** The most that is read of a blob whose size nobody knows. */
  readonly unknownSize: number
}

export const transferLimits: TransferLimits = {
  resumes: 5,
  pauseMs: 50,
  slowBytes: 32 * 1024,
  slowMs: 30_000,
  unknownSize: 64 * 1024 ** 3,
}

/** What the bytes up to `position` hash to: all that a reader can have been given of an earlier transfer. */
export interface Checkpoint {
  readonly position: number
  readonly hex: string
}

export interface TransferRequest {
  readonly digest: Digest
  readonly size: number | undefined
  readonly source: FillSource
  /** The source already open at byte 0; undefined to have it opened. */
  readonly first: OpenedSource | undefined
  /** A transfer whose beginning differs fails: it may not complete what another has begun. */
  readonly checkpoint: Checkpoint | undefined
  readonly signal: AbortSignal
  readonly observer: Observer
  readonly limits: TransferLimits
  /** Is given every byte once, in order, already hashed. A promise holds the source back; it never rejects. */
  take(chunk: Uint8Array): Promise<void> | undefined
}

export interface Transfer {
  readonly size: number | undefined
  /** Of all bytes that `take` has been given, or more. */
  checkpoint(): Checkpoint
  /** Resolves with the size once the digest holds. Throws UpstreamError, or the signal's reason. */
  run(): Promise<number>
}

/** One blob brought over whole: hashed as it comes, taken up again where it was cut, proven at its end. */
export function createTransfer(request: TransferRequest): Transfer {
  const { digest, source, checkpoint, signal, observer, limits } = request
  const hash = hasherFor(digest)
  let size = request.size
  let received = 0
  let endsByClose = false

  async function run(): Promise<number> {
    let resumes = 0
    let handedOver = 0
    for (let opened = request.first; ; opened = undefined) {
      const cut = await stretch(opened)
      signal.throwIfAborted()
      if (isWhole(cut)) return received
      const error = cut ?? new UpstreamError('unavailable', `the blob ended after ${received} bytes`)
      if (error instanceof HandedOverError && handedOver++ < maxHandedOver) continue
      const resumable = error.kind === 'unavailable' || error.kind === 'timeout' || error instanceof BusyError
      if (!resumable || resumes === limits.resumes) throw error
      observer.fillResumed(source.upstream)
      await pause(limits.pauseMs * 2 ** resumes++, undefined, { signal }).catch(() => signal.throwIfAborted())
    }
  }

  /** However it ended: bytes that hash to the digest are the blob. Throws where no more can make them so. */
  function isWhole(cut: UpstreamError | undefined): boolean {
    if (size !== undefined && received !== size) return false
    if (hash.copy().digest('hex') === hexOf(digest)) return true
    if (size !== undefined || (cut === undefined && !endsByClose))
      throw mismatch('other bytes than asked for')
    return false
  }

  /** Reads one body as far as it goes: undefined for a clean end, else what cut it. Throws what no resume can mend. */
  async function stretch(already: OpenedSource | undefined): Promise<UpstreamError | undefined> {
    let opened: OpenedSource
    try {
      opened = already ?? (await source.open(received, signal))
    } catch (error) {
      return asUpstreamError(error)
    }
    opened.body.on('error', ignore)
    size ??= opened.size
    endsByClose = opened.endsByClose
    const misfit =
      opened.start > received
        ? 'a range that was not asked for'
        : opened.size !== undefined && opened.size !== size
          ? `a size of ${opened.size} instead of ${size} bytes`
          : undefined
    if (misfit !== undefined) {
      opened.body.destroy()
      throw new UpstreamError('invalid-response', misfit)
    }
    return pump(opened.body, received - opened.start, opened.givesChunks ? free : ignore)
  }

  function pump(
    body: Readable,
    bytesToSkip: number,
    doneWith: (chunk: Buffer) => void,
  ): Promise<UpstreamError | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamError | undefined>()
    let skip = bytesToSkip
    let taking: Promise<void> | undefined
    let brought = 0
    let heldBack = false
    let over = false

    const finish = (error: unknown, settle: () => void) => {
      if (over) return
      over = true
      clearInterval(watch)
      signal.removeEventListener('abort', abort)
      body.off('data', onData)
      if (error !== undefined) body.destroy()
      // what was handed over counts as received: it must be in place before another stretch begins behind it
      if (taking === undefined) settle()
      else void taking.then(settle)
    }
    const cut = (error: unknown) => finish(error, () => resolve(asUpstreamError(error)))
    const abort = () => finish(signal.reason, () => resolve(undefined))

    const onData = (data: Buffer) => {
      brought += data.length
      if (skip >= data.length) {
        skip -= data.length
        return
      }
      const chunk = skip === 0 ? data : data.subarray(skip)
      skip = 0
      const fault = add(chunk)
      if (fault !== undefined) return finish(fault, () => reject(fault))
      taking = request.take(chunk)
      if (taking === undefined) return doneWith(data)
      heldBack = true
      body.pause()
      void taking.then(() => {
        taking = undefined
        doneWith(data)
        body.resume()
      })
    }
    const watch = setInterval(() => {
      if (!heldBack && brought < limits.slowBytes)
        cut(new UpstreamError('timeout', 'the body came too slowly'))
      heldBack = taking !== undefined
      brought = 0
    }, limits.slowMs)

    signal.addEventListener('abort', abort)
    body.once('end', () => finish(undefined, () => resolve(undefined)))
    body.once('error', cut)
    body.once('close', () => cut(new UpstreamError('unavailable', 'the body was cut')))
    if (signal.aborted) abort()
    else if (body.closed || body.errored !== null)
      cut(body.errored ?? new UpstreamError('unavailable', 'the body was cut'))
    else body.on('data', onData)
    return promise
  }

  /** Hashes; an error means that these can never become the right bytes. */
  function add(chunk: Uint8Array): UpstreamError | undefined {
    const end = received + chunk.length
    if (end > (size ?? limits.unknownSize)) return mismatch(`more than ${size ?? limits.unknownSize} bytes`)
    if (checkpoint !== undefined && received < checkpoint.position && end >= checkpoint.position) {
      const before = checkpoint.position - received
      hash.update(chunk.subarray(0, before))
      if (hash.copy().digest('hex') !== checkpoint.hex) return mismatch('other bytes than before')
      hash.update(chunk.subarray(before))
    } else {
      hash.update(chunk)
    }
    received = end
    return undefined
  }

  function mismatch(message: string): UpstreamError {
    observer.digestMismatch(source.upstream)
    return new UpstreamError('invalid-response', message)
  }

  return {
    get size() {
      return size
    },
    checkpoint: () => ({ position: received, hex: hash.copy().digest('hex') }),
    run,
  }
}

/** What a body is destroyed with that is left for another source: it was not at fault, and none of its resumes is used up. */
export class HandedOverError extends UpstreamError {
  constructor() {
    super('unavailable', 'another replica brings the same')
  }
}

/** Replicas that take each other's place without end are a fault like others. */
const maxHandedOver = 20

function asUpstreamError(error: unknown): UpstreamError {
  if (error instanceof UpstreamError) return error
  return new UpstreamError('unavailable', 'the body was cut', { cause: error })
}

/** A body's trouble is learnt where it is read; this keeps it from being nobody's before that. */
export function ignore(): void {}

/**
 * Left to the garbage collector, a gigabyte in chunks has it go through the whole heap a dozen times. Only a chunk that
 * has its memory for itself, and not before this turn of the event loop is over: until then its giver has it in hand.
 */
function free({ length, buffer }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length)
    setImmediate(() => void buffer.transfer(0))
}
