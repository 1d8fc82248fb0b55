import { StoreUnavailableError } from './breaker.ts'
import type { Gate } from './gate.ts'
import type { Bucket } from './s3-bucket.ts'

/** An object that is brought to S3 while it is still being written elsewhere; nobody sees it before `finish`. */
export interface Upload {
  /** So many bytes can be read now. */
  advance(end: number): void
  /** All `size` bytes can be read. Resolves when the object is there, by whose hand ever. */
  finish(size: number): Promise<void>
  /** Whether an object of that size is there already. */
  isThere(size: number): Promise<boolean>
  /** Takes away what has been sent. Safe to repeat; resolves when nothing is under way any more. */
  abort(): Promise<void>
}

export interface UploadOptions {
  readonly bucket: Bucket
  readonly key: string
  /** Undefined when it is not known yet. */
  readonly size: number | undefined
  readonly read: (buffer: Uint8Array, position: number) => Promise<number>
  /** Bounds the parts that are in memory at a time, of all uploads together. */
  readonly gate: Gate
  readonly partBytes?: number
  /** Told once it has an id; not of what goes in one piece. */
  readonly onBegun?: ((uploadId: string) => void) | undefined
}

const mebi = 1024 * 1024
const maxParts = 10_000
const leastPartBytes = 8 * mebi
const partBytesOfUnknown = 16 * mebi

/** All parts of an object have one size, as some servers demand, and are at most as many as S3 takes. */
export function partBytesFor(size: number | undefined): number {
  if (size === undefined) return partBytesOfUnknown
  return Math.max(leastPartBytes, Math.ceil(size / maxParts / mebi) * mebi)
}

export function createUpload(options: UploadOptions): Upload {
  const { bucket, key, size: expected, read, gate, partBytes = partBytesFor(expected) } = options
  const parts: Promise<string>[] = []
  let uploadId: Promise<string> | undefined
  let sent = 0
  let failed = false
  let aborted: Promise<void> | undefined

  function send(bytes: number): void {
    const position = sent
    const number = parts.length + 1
    sent += bytes
    uploadId ??= begin()
    const part = gate(async () => {
      if (failed) throw new StoreUnavailableError('the upload has failed already')
      const id = await uploadId!
      return bucket.uploadPart(key, id, number, await readExactly(position, bytes))
    })
    part.catch(() => {
      failed = true
    })
    parts.push(part)
  }

  async function begin(): Promise<string> {
    const id = await bucket.startUpload(key)
    options.onBegun?.(id)
    return id
  }

  async function readExactly(position: number, bytes: number): Promise<Uint8Array> {
    const buffer = Buffer.allocUnsafeSlow(bytes)
    for (let at = 0; at < bytes; ) {
      const length = await read(buffer.subarray(at), position + at)
      if (length === 0) throw new Error('the spool is shorter than what was written to it')
      at += length
    }
    return buffer
  }

  async function complete(size: number): Promise<'done' | 'exists' | 'lost'> {
    if (parts.length === 0) {
      const put = () => readExactly(0, size).then((bytes) => bucket.put(key, bytes, { ifAbsent: true }))
      return (await gate(put)) ? 'done' : 'exists'
    }
    if (sent < size) send(size - sent)
    const etags = await Promise.all(parts)
    return bucket.completeUpload(key, await uploadId!, etags)
  }

  /** An answer that was lost says nothing of what was done. */
  async function isThere(size: number): Promise<boolean> {
    return (await bucket.head(key))?.size === size
  }

  function abort(): Promise<void> {
    aborted ??= takeAway()
    return aborted
  }

  async function takeAway(): Promise<void> {
    failed = true
    await Promise.allSettled(parts)
    const id = await uploadId?.catch(() => undefined)
    if (id !== undefined) await bucket.abortUpload(key, id)
  }

  return {
    advance(end) {
      if (expected !== undefined && expected <= partBytes) return
      while (end - sent >= partBytes && !failed && !aborted && parts.length < maxParts) send(partBytes)
    },

    async finish(size) {
      let outcome: unknown
      try {
        outcome = await complete(size)
      } catch (error) {
        outcome = error
      }
      if (outcome === 'done') return
      const there = await bucket.head(key)
      if (there?.size === size) return abort()
      if (outcome instanceof Error) throw outcome
      // Something else has the key, though no other bytes can be right: what was spoiled makes room, and nothing that came since.
      if (outcome === 'exists' && there) await bucket.delete(key, there.etag)
      throw new StoreUnavailableError('S3 has no such object after it was uploaded')
    },

    isThere,
    abort,
  }
}
