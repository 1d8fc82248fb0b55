import type { Observer } from '../observer.ts'
import { type BlobStore, type BlobWriter, NoRoomError } from '../store/blob-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import { createDirectBody, type DirectBody, frontier } from './direct-body.ts'
import type { Fill, FillLimits, FillRequest } from './fill.ts'
import { createFillBody, type Front } from './fill-body.ts'
import { createSpool, type Spool } from './fill-spool.ts'
import { type Checkpoint, createTransfer, type OpenedSource, type Transfer } from './fill-transfer.ts'
import type { BlobBody } from './pull.ts'
import { BodyClosedError } from './stored-body.ts'
import type { Turns } from './turns.ts'

/** What the fills of one process share. */
export interface FillParts {
  readonly blobs: BlobStore
  readonly observer: Observer
  readonly limits: FillLimits
  readonly orphans: Set<RunningFill>
  /** Of the readers of all fills. */
  readonly turns: Turns
  /** What a fill gets of the memory they share, at least 1 byte; to be given back. */
  takeMemory(wanted: number): number
  giveMemory(bytes: number): void
  onDirect(direct: DirectBody): void
  onDirectEnd(direct: DirectBody): void
  isDraining(): boolean
  /** Nobody new joins this fill. */
  onEnd(fill: RunningFill): void
}

export interface RunningFill extends Fill {
  /** Ends it unless its bytes are proven; without an error its readers, if any come, go on by themselves. */
  stop(error: UpstreamError | undefined): void
  readonly readers: number
}

/**
 * The front moves on for all readers at once, by so many bytes or after so long: with each chunk instead, each of a
 * hundred readers would be woken for, and write, a few kilobytes.
 */
const step = { bytes: 256 * 1024, ms: 4 }

export function startFill(request: FillRequest, parts: FillParts): RunningFill {
  const { digest, source } = request
  const { observer, limits } = parts
  const stopping = new AbortController()
  const front: Front = {
    state: parts.isDraining() ? 'alone' : 'filling',
    size: request.size ?? request.first.size,
    visible: 0,
    failure: undefined,
    waiting: new Set(),
  }
  let readers = 0
  let transfer: Transfer | undefined
  let spool: Spool | undefined
  let writer: BlobWriter | undefined
  /** Whoever started the fill may be about to open its first body. */
  let expecting = true
  let fileReads = 0
  let memory = 0
  let ended = false
  let closed = false
  /** What readers may have been given of bytes that never were proven. */
  let checkpoint: Checkpoint | undefined
  /** The open source, as long as nobody reads it. */
  let spare: OpenedSource | undefined = request.first
  /** Readers may have what lies before it from the next step on. */
  let reached = 0
  let stepNow: NodeJS.Immediate | undefined
  let stepLater: NodeJS.Timeout | undefined
  let orphan: { readonly since: number; readonly timer: NodeJS.Timeout } | undefined

  async function run(): Promise<boolean> {
    observer.fillStarted('upstream')
    writer = await createWriter()
    awaitFirstReader()
    if (writer === undefined) {
      if (front.state === 'filling') leave('alone')
      return end('abandoned')
    }
    const total = front.state === 'filling' ? await bringOver(writer) : undefined
    if (total === undefined) {
      await discard(writer)
      return end(front.state === 'failed' ? 'failed' : 'abandoned')
    }
    const stored = await commit(writer, total)
    return end(stored ? 'committed' : 'failed')
  }

  async function createWriter(): Promise<BlobWriter | undefined> {
    if (front.state !== 'filling') return undefined
    try {
      return await parts.blobs.create(digest, front.size, request.other)
    } catch (error) {
      observer.storeFailure('blob.create', error)
      return undefined
    }
  }

  /** The size once all is here and proven; undefined when the fill has left instead. */
  async function bringOver(into: BlobWriter): Promise<number | undefined> {
    memory = parts.takeMemory(front.size ?? Number.POSITIVE_INFINITY)
    const spooling = createSpool({ writer: into, capacity: memory, onTaken, onFailure: onNoRoom })
    spool = spooling
    const first = spare
    spare = undefined
    transfer = createTransfer({
      digest,
      source,
      size: front.size,
      first,
      checkpoint: undefined,
      signal: stopping.signal,
      observer,
      limits,
      take: spooling.take,
    })
    try {
      const total = await transfer.run()
      if (front.state !== 'filling') return undefined
      prove(total)
      return total
    } catch (error) {
      if (front.state === 'filling') leave('failed', error)
      return undefined
    }
  }

  function prove(total: number): void {
    front.state = 'proven'
    front.size = total
    front.visible = total
    adopted()
    wakeAll()
  }

  async function commit(into: BlobWriter, total: number): Promise<boolean> {
    let operation = 'blob.append'
    try {
      await spool?.finish()
      operation = 'blob.commit'
      await into.commit()
      dropMemory()
      operation = 'blob.link'
      await request.afterCommit(total)
      return true
    } catch (error) {
      tellStoreFailure(operation, error)
      if (operation !== 'blob.link') await discard(into)
      return false
    }
  }

  async function discard(from: BlobWriter): Promise<void> {
    await spool?.idle()
    await from.abort().catch((error: unknown) => observer.storeFailure('blob.abort', error))
  }

  function end(result: 'committed' | 'failed' | 'abandoned'): boolean {
    ended = true
    adopted()
    parts.onEnd(fill)
    observer.fillEnded('upstream', result)
    closeIfUnused()
    return result === 'committed'
  }

  function onTaken(before: number, taken: number): void {
    front.size = transfer?.size
    reached = frontier(reached, before, taken, front.size)
    if (front.visible === 0 || reached - front.visible >= Math.min(step.bytes, memory / 4)) {
      stepNow ??= setImmediate(takeStep)
    } else {
      stepLater ??= setTimeout(takeStep, step.ms)
    }
    if (orphan !== undefined && taken - orphan.since > limits.orphanBytes) leave('alone')
  }

  function onNoRoom(error: unknown): void {
    // once the bytes are proven the commit tells, and readers have all they need: the window covers what was not written
    if (front.state !== 'filling') return
    tellStoreFailure('blob.append', error)
    leave('alone')
  }

  function tellStoreFailure(operation: string, error: unknown): void {
    if (!(error instanceof NoRoomError)) observer.storeFailure(operation, error)
  }

  function leave(next: 'failed' | 'alone', error?: unknown): void {
    front.state = next
    front.failure = error
    checkpoint = transfer?.checkpoint()
    adopted()
    parts.onEnd(fill)
    spool?.stop()
    stopping.abort(error ?? new BodyClosedError())
    wakeAll()
  }

  function takeStep(): void {
    if (front.state === 'filling') front.visible = reached
    wakeAll()
  }

  function wakeAll(): void {
    if (stepNow !== undefined) clearImmediate(stepNow)
    clearTimeout(stepLater)
    stepNow = stepLater = undefined
    for (const wake of front.waiting) wake()
    front.waiting.clear()
  }

  function awaitFirstReader(): void {
    const stopExpecting = () => {
      expecting = false
      if (readers === 0) onUnread()
    }
    if (readers > 0) stopExpecting()
    else setTimeout(stopExpecting, limits.firstReaderMs).unref()
  }

  function onUnread(): void {
    orphaned()
    dropSpare()
    closeIfUnused()
  }

  /** Nobody reads: the transfer goes on for those who may come, within bounds. */
  function orphaned(): void {
    if (front.state !== 'filling' || spool === undefined || orphan !== undefined) return
    const rest = front.size === undefined ? 0 : front.size - spool.end
    if (parts.isDraining() || rest > limits.orphanBytes || parts.orphans.size >= limits.orphans) {
      leave('alone')
      return
    }
    const timer = setTimeout(() => leave('alone'), limits.orphanMs)
    orphan = { since: spool.end, timer }
    parts.orphans.add(fill)
  }

  function adopted(): void {
    clearTimeout(orphan?.timer)
    orphan = undefined
    parts.orphans.delete(fill)
  }

  function dropMemory(): void {
    spool?.dropMemory()
    parts.giveMemory(memory)
    memory = 0
  }

  function closeIfUnused(): void {
    if (!ended || closed || fileReads > 0 || (front.state === 'proven' && (readers > 0 || expecting))) return
    closed = true
    dropMemory()
    void writer?.close().catch((error: unknown) => observer.storeFailure('blob.close', error))
  }

  function openDirect(hasBytes: boolean): DirectBody {
    const first = spare
    spare = undefined
    const direct = createDirectBody({
      digest,
      size: front.size,
      source,
      first,
      checkpoint: hasBytes ? checkpoint : undefined,
      observer,
      limits,
      onEnd: parts.onDirectEnd,
    })
    parts.onDirect(direct)
    return direct
  }

  function dropSpare(): void {
    spare?.body.destroy()
    spare = undefined
  }

  function readSpool(buffer: Uint8Array, position: number): number | Promise<number> {
    const length = spool!.read(buffer, position, front.visible)
    return typeof length === 'number' ? length : fromFile(length)
  }

  /** The writer stays open until this has ended. */
  async function fromFile(reading: Promise<number>): Promise<number> {
    fileReads++
    try {
      const length = await reading
      if (length === 0) throw new Error('the store gave back less than it was given')
      return length
    } finally {
      fileReads--
      closeIfUnused()
    }
  }

  function openBody(direct = openDirect): BlobBody {
    readers++
    adopted()
    return createFillBody({
      front,
      late: closed,
      turns: parts.turns,
      readSpool,
      openDirect: direct,
      onClose: onBodyClose,
    })
  }

  function onBodyClose(): void {
    readers--
    expecting = false
    if (readers === 0) onUnread()
  }

  const { promise: done, resolve } = Promise.withResolvers<boolean>()
  const fill: RunningFill = {
    get size() {
      return front.size
    },
    get readers() {
      return readers
    },
    done,
    openBody: () => openBody(),
    openSharedBody: () =>
      openBody(() => {
        throw new UpstreamError('unavailable', 'the fill has ended')
      }),
    stop(error) {
      if (front.state === 'filling') leave(error === undefined ? 'alone' : 'failed', error)
    },
  }
  void run().then(resolve)
  return fill
}
