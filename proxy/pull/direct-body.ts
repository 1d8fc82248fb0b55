import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import { createRing } from './fill-ring.ts'
import {
  type Checkpoint,
  createTransfer,
  type FillSource,
  type OpenedSource,
  type TransferLimits,
} from './fill-transfer.ts'
import type { BlobBody } from './pull.ts'
import { BodyClosedError } from './stored-body.ts'

/** A transfer for one reader alone, hashed like any other and kept nowhere. */
export interface DirectBody extends BlobBody {
  /** Fails the pending and every later read. */
  fail(error: unknown): void
}

export interface DirectBodyRequest {
  readonly digest: Digest
  readonly size: number | undefined
  readonly source: FillSource
  /** The source already open at byte 0, if there is one to spare: the body's from now on. */
  readonly first: OpenedSource | undefined
  /** Where the reader has had bytes of another transfer. */
  readonly checkpoint: Checkpoint | undefined
  readonly observer: Observer
  readonly limits: TransferLimits
  /** The transfer is over. */
  readonly onEnd: (body: DirectBody) => void
}

/** The most that is buffered ahead of the reader. */
const bufferBytes = 1024 ** 2

const results = {
  idle: 'abandoned',
  running: 'abandoned',
  proven: 'committed',
  failed: 'failed',
  closed: 'abandoned',
} as const

/**
 * Begins with the first read. Always read from byte 0, since only the whole has a digest; what lies before the reader's
 * position is hashed and forgotten. The source waits for the reader.
 */
export function createDirectBody(request: DirectBodyRequest): DirectBody {
  const { first, observer } = request
  const ring = createRing(Math.max(1, Math.min(request.size ?? bufferBytes, bufferBytes)))
  const largestPart = Math.ceil(ring.capacity / 4)
  const stopping = new AbortController()
  /** Bytes before it are not asked for again. */
  let wanted = 0
  /** Bytes before it may be given away. */
  let visible = 0
  let state: keyof typeof results = 'idle'
  let error: unknown
  let wakeReader: (() => void) | undefined
  let wakeSource: (() => void) | undefined

  const transfer = createTransfer({ ...request, signal: stopping.signal, take })

  const room = () => ring.capacity - Math.max(0, ring.end - wanted)

  function take(chunk: Uint8Array): Promise<void> | undefined {
    // Never a large one at once: a held back part that filled the ring would wait for its successor for ever.
    if (chunk.length > Math.min(room(), largestPart)) return takeInParts(chunk)
    accept(chunk)
    return undefined
  }

  async function takeInParts(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length && state === 'running'; ) {
      const length = Math.min(chunk.length - at, largestPart, room())
      if (length > 0) {
        accept(chunk.subarray(at, at + length))
        at += length
      } else {
        await new Promise<void>((resolve) => {
          wakeSource = resolve
        })
      }
    }
  }

  function accept(chunk: Uint8Array): void {
    const before = ring.end
    const unwanted = Math.min(Math.max(0, wanted - before), chunk.length)
    if (unwanted > 0) ring.skip(unwanted)
    if (unwanted < chunk.length) ring.push(unwanted === 0 ? chunk : chunk.subarray(unwanted))
    visible = frontier(visible, before, ring.end, transfer.size)
    wakeReader?.()
  }

  async function run(): Promise<void> {
    state = 'running'
    observer.fillStarted('direct')
    try {
      const size = await transfer.run()
      prove(size)
    } catch (cause) {
      fail(cause)
    }
    observer.fillEnded('direct', results[state])
    request.onEnd(body)
  }

  function prove(size: number): void {
    if (state !== 'running') return
    state = 'proven'
    visible = size
    wakeReader?.()
  }

  function stop(next: 'failed' | 'closed', reason: unknown): void {
    if (error !== undefined) return
    const begun = state !== 'idle'
    if (!begun) first?.body.destroy()
    state = next
    error = reason
    stopping.abort(reason)
    wakeReader?.()
    wakeSource?.()
    if (!begun) request.onEnd(body)
  }

  function fail(cause: unknown): void {
    stop('failed', cause)
  }

  async function read(buffer: Uint8Array, position: number): Promise<number> {
    if (state === 'idle') void run()
    for (;;) {
      if (error !== undefined) throw error
      want(position)
      if (position < visible) return give(buffer, position)
      if (state === 'proven') return 0
      await new Promise<void>((resolve) => {
        wakeReader = resolve
      })
    }
  }

  function want(position: number): void {
    wanted = Math.max(wanted, position)
    wakeSource?.()
  }

  function give(buffer: Uint8Array, position: number): number {
    if (position < ring.start) throw new RangeError('positions asked of one body never go back')
    const length = Math.min(buffer.length, visible - position)
    ring.copy(buffer, position, length)
    want(position + length)
    return length
  }

  const body: DirectBody = {
    get size() {
      return transfer.size
    },
    bytes: undefined,
    read,
    fail,
    close: () => stop('closed', new BodyClosedError()),
  }
  return body
}

/**
 * How far readers may go when bytes from `before` to `end` have come: to the end, but never to the blob's last byte,
 * which nobody gets before the digest holds. Where the size is unknown any chunk may be the last.
 */
export function frontier(visible: number, before: number, end: number, size: number | undefined): number {
  if (size === undefined) return before
  return end < size ? end : visible
}
