import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, onTestFinished } from 'vitest'
import type { Observer } from '../../../proxy/observer.ts'
import { type Digest, type DigestAlgorithm, digestOf } from '../../../proxy/oci/digest.ts'
import {
  createFills,
  type Fill,
  type FillLimits,
  type FillSource,
  type Fills,
  fillLimits,
  type OpenedSource,
} from '../../../proxy/pull/fill.ts'
import type { BlobBody } from '../../../proxy/pull/pull.ts'
import { type BlobStore, NoRoomError } from '../../../proxy/store/blob-store.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'

/** What the source does when it is opened for the nth time; the last one is repeated. */
export interface Stretch {
  /** Refuses to open at all. */
  readonly refuse?: UpstreamError
  /** An answer of 200: from byte 0, whatever was asked for. */
  readonly fromStart?: boolean
  /** Sends other bytes than the blob's. */
  readonly bytes?: Buffer
  /** Ends before this position of the blob. */
  readonly until?: number
  /** How it ends there: with a clean end, an error, a close without either, or never. */
  readonly ending?: 'end' | 'error' | 'close' | 'stall'
  readonly error?: Error
  readonly chunkBytes?: number
  readonly chunks?: readonly number[]
  /** Called before each chunk is sent, with its position. */
  readonly before?: (position: number) => Promise<unknown> | undefined
}

export interface ScriptOptions {
  /** What the source says of the size; by default the truth. */
  readonly says?: number | undefined
  readonly endsByClose?: boolean
}

/** A source that follows a script, and counts. */
export function scripted(blob: Buffer, script: readonly Stretch[] = [{}], options: ScriptOptions = {}) {
  const starts: number[] = []
  const bodies = new Set<Readable>()
  let sent = 0
  const size = 'says' in options ? options.says : blob.length

  async function open(start: number): Promise<OpenedSource> {
    const stretch = script[Math.min(starts.length, script.length - 1)]!
    starts.push(start)
    await pause(0)
    if (stretch.refuse) throw stretch.refuse
    const from = stretch.fromStart ? 0 : start
    const body = bodyOf(stretch, stretch.bytes ?? blob, from)
    bodies.add(body)
    body.once('close', () => bodies.delete(body))
    return { body, start: from, size, endsByClose: options.endsByClose ?? false }
  }

  function bodyOf(stretch: Stretch, bytes: Buffer, from: number): Readable {
    const until = Math.min(stretch.until ?? bytes.length, bytes.length)
    const chunks = stretch.chunks ?? [stretch.chunkBytes ?? 16 * 1024]
    let turn = 0
    let at = from
    async function next(body: Readable): Promise<void> {
      if (at >= until) return end(body, stretch)
      await stretch.before?.(at)
      const chunk = bytes.subarray(at, Math.min(until, at + Math.max(1, chunks[turn++ % chunks.length]!)))
      at += chunk.length
      sent += chunk.length
      body.push(chunk)
    }
    return new Readable({
      read() {
        void next(this)
      },
    })
  }

  async function end(body: Readable, { ending = 'end', error }: Stretch): Promise<void> {
    // time enough for what was sent to go further than it may
    await pause(5)
    if (ending === 'end') body.push(null)
    if (ending === 'error') body.destroy(error ?? new UpstreamError('unavailable', 'reset'))
    if (ending === 'close') body.destroy()
  }

  const source: FillSource = { upstream: 'default/hub', open }
  return {
    source,
    /** Where each opening was asked to begin. */
    starts,
    get sent() {
      return sent
    },
    get openBodies() {
      return bodies.size
    },
  }
}

export type Script = ReturnType<typeof scripted>

export interface Rig {
  readonly fills: Fills
  readonly blobs: BlobStore
  readonly events: string[]
  readonly root: string
  /** Starts a fill as the pull path does: the source is opened first. */
  begin(script: Script, blob: Asked, afterCommit?: (size: number) => Promise<void>): Promise<Fill>
  /** Every file under the store's folder. */
  files(): Promise<string[]>
}

export interface Asked {
  readonly digest: Digest
  readonly size?: number | undefined
}

export async function createRig({
  limits,
  wrap = (blobs) => blobs,
}: {
  limits?: Partial<FillLimits>
  wrap?: (blobs: BlobStore) => BlobStore
} = {}): Promise<Rig> {
  const root = await mkdtemp(join(tmpdir(), 'fills-'))
  const events: string[] = []
  const observer = recorder(events)
  const faults: string[] = []
  const blobs = guarded(wrap(await createFileBlobStore({ root, observer })), faults)
  const fills = createFills({ blobs, observer, limits: { ...fillLimits, pauseMs: 1, ...limits } })
  onTestFinished(async () => {
    await fills.drain(0)
    await rm(root, { recursive: true, force: true })
    expect(faults).toEqual([])
  })
  return {
    fills,
    blobs,
    events,
    root,
    async begin({ source }, { digest, size }, afterCommit = async () => {}) {
      const first = await source.open(0, new AbortController().signal)
      return fills.start({ origin: 'https://hub', digest, size, first, source, afterCommit })
    },
    async files() {
      const found = await readdir(root, { recursive: true, withFileTypes: true })
      return found.filter((entry) => entry.isFile()).map(({ name }) => name)
    },
  }
}

export function recorder(events: string[]): Observer {
  const on =
    (name: string) =>
    (...details: unknown[]) => {
      events.push([name, ...details.filter((detail) => typeof detail === 'string')].join(' '))
    }
  const ignore = () => {}
  return {
    upstreamRequest: ignore,
    upstreamBytes: ignore,
    fillStarted: on('started'),
    fillEnded: on('ended'),
    fillResumed: on('resumed'),
    digestMismatch: on('mismatch'),
    breaker: ignore,
    spoolBytes: ignore,
    storedBytes: ignore,
    evicted: ignore,
    sharing: ignore,
    storeFailure: on('storeFailure'),
  }
}

export function blobOf(size: number, algorithm: DigestAlgorithm = 'sha256') {
  const bytes = randomBytes(size)
  return { bytes, size, digest: digestOf(bytes, algorithm) }
}

export interface Drunk {
  readonly bytes: Buffer
  /** What ended it; undefined for a clean end. */
  readonly error: unknown
}

/** Reads a body as a client would, to its end or its error. */
export async function drink(
  body: BlobBody,
  {
    bufferBytes = 32 * 1024,
    pauseMs = 0,
    start = 0,
  }: { bufferBytes?: number; pauseMs?: number; start?: number } = {},
): Promise<Drunk> {
  const chunks: Buffer[] = []
  const buffer = Buffer.alloc(bufferBytes)
  try {
    for (let position = start; ; ) {
      const length = await body.read(buffer, position)
      if (length === 0) return { bytes: Buffer.concat(chunks), error: undefined }
      chunks.push(Buffer.from(buffer.subarray(0, length)))
      position += length
      if (pauseMs > 0) await pause(pauseMs)
    }
  } catch (error) {
    return { bytes: Buffer.concat(chunks), error }
  } finally {
    body.close()
  }
}

export function flipped(bytes: Buffer, at: number): Buffer {
  const other = Buffer.from(bytes)
  other[at]! ^= 1
  return other
}

/** A store with room for so many bytes of each blob; undefined for a store that says no at once. */
export function withRoomFor(bytes: number | undefined): (blobs: BlobStore) => BlobStore {
  return (blobs) => ({
    ...blobs,
    async create(digest, size) {
      const writer = bytes === undefined ? undefined : await blobs.create(digest, size)
      if (writer === undefined || bytes === undefined) return undefined
      let left = bytes
      return {
        ...writer,
        async append(chunks) {
          left -= chunks.reduce((sum, chunk) => sum + chunk.length, 0)
          if (left < 0) throw new NoRoomError('full')
          await writer.append(chunks)
        },
      }
    },
  })
}

/** Takes its time, and notes what a writer's owner may not do. */
function guarded(blobs: BlobStore, faults: string[]): BlobStore {
  return {
    ...blobs,
    async create(digest, size) {
      const writer = await blobs.create(digest, size)
      if (writer === undefined) return undefined
      const busy = { append: 0, read: 0 }
      let closed = false
      const note = (fault: string, wrong: boolean) => wrong && faults.push(fault)
      const during = async <T>(what: keyof typeof busy, work: () => Promise<T>) => {
        note(`${what} after close`, closed)
        busy[what]++
        await pause(0)
        return work().finally(() => busy[what]--)
      }
      return {
        append(chunks) {
          note('two appends at once', busy.append > 0)
          return during('append', () => writer.append(chunks))
        },
        read: (buffer, position) => during('read', () => writer.read(buffer, position)),
        commit() {
          note('commit during append', busy.append > 0)
          return writer.commit()
        },
        abort() {
          note('abort during append', busy.append > 0)
          return writer.abort()
        },
        close() {
          note('close during use', busy.append + busy.read > 0)
          note('close twice', closed)
          closed = true
          return writer.close()
        },
      }
    },
  }
}

/** Bytes in buffers that somebody can still reach. */
export function heldBuffers(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().arrayBuffers
}

/** Of files and sockets; pipes and the like are the test runner's. */
export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length
}

export function gate(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

/** Waits for what comes about by itself. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('did not come about')
    await pause(5)
  }
}
