import type { DirectBody } from './direct-body.ts'
import type { BlobBody } from './pull.ts'
import { BodyClosedError } from './stored-body.ts'
import type { Turns } from './turns.ts'

/** How far a fill has come: written by the fill, read by its bodies. */
export interface Front {
  /**
   * - `filling`: bytes are coming
   * - `proven`: all came and hash to the digest; they are being committed, or were
   * - `failed`: every reader gets the failure
   * - `alone`: the fill ended without a verdict, for want of room or of readers; every reader has a transfer of its own
   */
  state: 'filling' | 'proven' | 'failed' | 'alone'
  size: number | undefined
  /** Readers may have what lies before it; the size only when proven. Never goes back. */
  visible: number
  failure: unknown
  /** Called and forgotten whenever any of the above has changed. */
  readonly waiting: Set<() => void>
}

export interface FillBodyParts {
  readonly front: Front
  /** The fill's bytes are no longer to be had. */
  readonly late: boolean
  readonly turns: Turns
  /** Reads what is visible. */
  readonly readSpool: (buffer: Uint8Array, position: number) => number | Promise<number>
  /** `hasBytes`: some were read from the fill, so that the transfer must begin with the same. */
  readonly openDirect: (hasBytes: boolean) => DirectBody
  readonly onClose: () => void
}

/** So little that it needs no turn: nobody waits for his first byte behind those who have had theirs. */
const firstBytes = 16 * 1024

/** One reader of a fill, at its own pace. */
export function createFillBody(parts: FillBodyParts): BlobBody {
  const { front, late, turns, readSpool, openDirect, onClose } = parts
  let direct: DirectBody | undefined
  let hasBytes = false
  let closed = false
  let wake: (() => void) | undefined

  function moved(): Promise<void> {
    return new Promise((resolve) => {
      wake = resolve
      front.waiting.add(resolve)
    })
  }

  /** What is read instead of the fill. Throws when there is nothing to read any more. */
  function elsewhere(): DirectBody | undefined {
    if (closed) throw new BodyClosedError()
    if (front.failure !== undefined) throw front.failure
    if (late || front.state === 'alone') direct ??= openDirect(hasBytes)
    return direct
  }

  function left(position: number): number {
    return (front.size ?? Number.POSITIVE_INFINITY) - position
  }

  async function read(buffer: Uint8Array, position: number): Promise<number> {
    let isMyTurn = !hasBytes
    for (;;) {
      const other = elsewhere()
      if (other !== undefined) return other.read(buffer, position)
      const isThere = position < front.visible
      if (isThere && isMyTurn) return readNow(buffer, position)
      if (isThere) await turns(left(position))
      else if (front.state === 'proven') return 0
      else await moved()
      isMyTurn ||= isThere
    }
  }

  function readNow(buffer: Uint8Array, position: number): number | Promise<number> {
    const room = hasBytes ? buffer : buffer.subarray(0, firstBytes)
    hasBytes = true
    return readSpool(room, position)
  }

  return {
    get size() {
      return front.size
    },
    bytes: undefined,
    read,
    close() {
      if (closed) return
      closed = true
      direct?.close()
      if (wake !== undefined && front.waiting.delete(wake)) wake()
      onClose()
    },
  }
}
