import type { ServerResponse } from 'node:http'
import type { BlobBody } from '../pull/pull.ts'
import type { Buffers } from './buffers.ts'

export interface Copy {
  readonly response: ServerResponse
  readonly body: BlobBody
  readonly buffers: Buffers
  readonly start: number
  /** Bytes to send; undefined: to the end of the body, wherever that is. */
  readonly length: number | undefined
  /** Called once, before the first byte: writes the head. A body that fails earlier can still be answered with an error. */
  begin(): void
  /** Bytes handed over to the connection. */
  sent(bytes: number): void
}

/**
 * Copies a body to its client through one lent buffer: the next read waits until the connection has taken the last, so a
 * slow client costs that buffer and no more. Ends early, without an error, when the client leaves. Throws what `read`
 * throws, and when the body is not as long as it said; the response is then left unfinished.
 */
export async function copyBody(copy: Copy): Promise<void> {
  const { body, buffers } = copy
  const client = watchClient(copy.response, () => body.close())
  const buffer = buffers.take()
  try {
    await copyThrough(buffer, copy, client)
  } catch (error) {
    if (!client.gone.aborted) throw error
  } finally {
    client.unwatch()
    body.close()
    buffers.give(buffer)
  }
}

async function copyThrough(buffer: Buffer, copy: Copy, client: Client): Promise<void> {
  const { body, start, length, begin, sent } = copy
  let done = 0
  while (!client.gone.aborted) {
    const left = length === undefined ? buffer.length : length - done
    // an empty body is read too: only a read that gives nothing proves it
    const room = left < buffer.length ? buffer.subarray(0, Math.max(left, 1)) : buffer
    const count = await body.read(room, start + done)
    if (client.gone.aborted) return
    if (length !== undefined && (count === 0) !== (left === 0))
      throw new Error('the body is not as long as it said')
    if (done === 0) begin()
    done += count
    sent(count)
    const last = count === 0 || done === length
    await client.take(buffer.subarray(0, count), last)
    if (last) return
  }
}

interface Client {
  readonly gone: AbortSignal
  /** Until the connection has taken the bytes, or is gone: only then may their buffer be used again. */
  take(bytes: Uint8Array, last: boolean): Promise<void>
  unwatch(): void
}

function watchClient(response: ServerResponse, leave: () => void): Client {
  const gone = new AbortController()
  let taken: (() => void) | undefined
  const onClose = () => {
    gone.abort()
    taken?.()
    leave()
  }
  response.once('close', onClose)
  if (response.destroyed) onClose()

  return {
    gone: gone.signal,
    take: (bytes, last) =>
      new Promise((resolve) => {
        taken = resolve
        if (last) response.end(bytes, resolve)
        else response.write(bytes, () => resolve())
      }),
    unwatch: () => response.off('close', onClose),
  }
}
