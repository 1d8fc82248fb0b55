import type { BlobWriter } from '../store/blob-store.ts'
import { createRing } from './fill-ring.ts'

/**
 * What a fill has so far: the latest bytes in memory, all but the very latest in the store's writer. Bytes are taken
 * as fast as the store writes and never slower for a reader; readers near the front need no file.
 */
export interface Spool {
  readonly end: number
  /** A promise holds the source back: the store is slower than the source. It settles early when writing fails. */
  take(chunk: Uint8Array): Promise<void> | undefined
  /** Reads below `end`; a number at once where the bytes are in memory. 0 is a fault of the store's. */
  read(buffer: Uint8Array, position: number, end: number): number | Promise<number>
  /** Everything taken is written. Throws what the writing threw. */
  finish(): Promise<void>
  /** Nothing is being written just now. */
  idle(): Promise<void>
  /** Ends the writing and lets go of the one who waits for it. */
  stop(): void
  /** Frees the memory, once everything is written. */
  dropMemory(): void
}

export interface SpoolParts {
  readonly writer: BlobWriter
  readonly capacity: number
  /** The end has moved on to `end`; it stood at `before`. */
  readonly onTaken: (before: number, end: number) => void
  /** Told once; the spool is then good for reading alone. */
  readonly onFailure: (error: unknown) => void
}

/** The store is written to in pieces of at least this, but for the last. */
const leastBatch = 256 * 1024

export function createSpool({ writer, capacity, onTaken, onFailure }: SpoolParts): Spool {
  const ring = createRing(capacity)
  const largestBatch = Math.ceil(capacity / 4)
  const batch = Math.min(leastBatch, largestBatch)
  let written = 0
  let writing: Promise<void> | undefined
  let finishing = false
  let stopped = false
  let failure: { readonly error: unknown } | undefined
  let letGo: (() => void) | undefined

  const backlog = () => ring.end - written

  function accept(chunk: Uint8Array): void {
    const before = ring.end
    ring.push(chunk)
    onTaken(before, ring.end)
    if (writing === undefined && backlog() >= batch) writing = write()
  }

  async function takeInParts(chunk: Uint8Array): Promise<void> {
    for (let at = 0; at < chunk.length && !stopped; ) {
      const length = Math.min(chunk.length - at, largestBatch, capacity - backlog())
      if (length > 0) accept(chunk.subarray(at, at + length))
      else await roomier()
      at += length
    }
  }

  function roomier(): Promise<void> {
    return new Promise((resolve) => {
      letGo = resolve
    })
  }

  async function write(): Promise<void> {
    try {
      while (!stopped && backlog() >= (finishing ? 1 : batch)) {
        const end = Math.min(ring.end, written + largestBatch)
        await writer.append(ring.parts(written, end))
        written = end
        if (backlog() <= capacity / 2) letGo?.()
      }
    } catch (error) {
      failure = { error }
      stop()
      onFailure(error)
    } finally {
      writing = undefined
    }
  }

  function stop(): void {
    stopped = true
    letGo?.()
  }

  return {
    get end() {
      return ring.end
    },
    take(chunk) {
      if (stopped) return undefined
      if (chunk.length > capacity - backlog()) return takeInParts(chunk)
      accept(chunk)
      return undefined
    },
    read(buffer, position, end) {
      const length = Math.min(buffer.length, end - position)
      if (position < ring.start) {
        return writer.read(length < buffer.length ? buffer.subarray(0, length) : buffer, position)
      }
      ring.copy(buffer, position, length)
      return length
    },
    async finish() {
      finishing = true
      await writing
      if (backlog() > 0 && !stopped) await write()
      if (failure !== undefined) throw failure.error
    },
    async idle() {
      await writing
    },
    stop,
    dropMemory: () => ring.drop(),
  }
}
