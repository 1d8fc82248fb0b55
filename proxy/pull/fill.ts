import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { BlobStore, OtherBringer } from '../store/blob-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { DirectBody } from './direct-body.ts'
import { type RunningFill, startFill } from './fill-run.ts'
import {
  type FillSource,
  ignore,
  type OpenedSource,
  type TransferLimits,
  transferLimits,
} from './fill-transfer.ts'
import type { BlobBody } from './pull.ts'
import { createTurns } from './turns.ts'

export type { FillSource, OpenedSource } from './fill-transfer.ts'

/** One transfer of a blob into the store, with any number of readers meanwhile. */
export interface Fill {
  /** From a descriptor or the source; without either undefined until the end. */
  readonly size: number | undefined
  /** True when bytes and link are committed. False when the fill failed, had no room or was given up. Never rejects. */
  readonly done: Promise<boolean>
  /** A reader of its own, to be closed; many at once. Works at any time: when all else is over by a transfer of its own. */
  openBody(): BlobBody
  /** Likewise, but it fails where it would need a transfer of its own. */
  openSharedBody(): BlobBody
}

export interface FillRequest {
  readonly origin: string
  readonly digest: Digest
  /** From a manifest's descriptor; undefined where none is known. */
  readonly size: number | undefined
  /** The source, already open at byte 0: the fill's from now on. */
  readonly first: OpenedSource
  readonly source: FillSource
  /** Another replica that may store it instead. */
  readonly other?: OtherBringer | undefined
  /** Link, tag, index: run after the blob's commit, before the fill is no longer joined. */
  afterCommit(size: number): Promise<void>
}

export interface Fills {
  /** Fills and transfers for one reader. */
  readonly inProgress: number
  /** The running fill of these bytes from this origin, until its commit has ended. */
  running(origin: string, digest: Digest): Fill | undefined
  /** The running fill of the same, if there is one, and a new one otherwise. Throws UpstreamError when the sizes differ. */
  start(request: FillRequest): Fill
  /**
   * From now on nothing new is stored: whoever still comes has a transfer of his own. Resolves when all has ended: what
   * nobody reads at once, what is read by itself or after `ms`, a commit under way by itself.
   */
  drain(ms: number): Promise<void>
}

export interface FillLimits extends TransferLimits {
  /** The most memory of one fill; the most of all together, but for the least that each gets. */
  readonly windowBytes: number
  readonly windowBytesInAll: number
  readonly leastWindowBytes: number
  /** How far a fill goes on without a reader, and how many may do so at once: an aborted pull does not waste a transfer. */
  readonly orphanBytes: number
  readonly orphanMs: number
  readonly orphans: number
  /** Within this somebody opens a body of a new fill, or it counts as one without a reader. */
  readonly firstReaderMs: number
}

export const fillLimits: FillLimits = {
  ...transferLimits,
  windowBytes: 4 * 1024 ** 2,
  windowBytesInAll: 64 * 1024 ** 2,
  leastWindowBytes: 256 * 1024,
  orphanBytes: 1024 ** 3,
  orphanMs: 60_000,
  orphans: 16,
  firstReaderMs: 1_000,
}

/** Each copies and writes what came in the last step, or a buffer full where it is behind: some milliseconds for all. */
const readersPerTurn = 16

export interface FillsParts {
  readonly blobs: BlobStore
  readonly observer: Observer
  readonly limits?: FillLimits
}

export function createFills({ blobs, observer, limits = fillLimits }: FillsParts): Fills {
  const joinable = new Map<string, RunningFill>()
  const running = new Set<RunningFill>()
  const directs = new Set<DirectBody>()
  let memory = 0
  let draining = false
  let over = false
  let onIdle: (() => void) | undefined

  const tellIfIdle = () => {
    if (running.size + directs.size === 0) onIdle?.()
  }

  const parts = {
    blobs,
    observer,
    limits,
    onDirect(direct: DirectBody) {
      directs.add(direct)
    },
    onDirectEnd(direct: DirectBody) {
      directs.delete(direct)
      tellIfIdle()
    },
    orphans: new Set<RunningFill>(),
    turns: createTurns(readersPerTurn),
    isDraining: () => draining,
    takeMemory(wanted: number) {
      // never more than a part of what is left, so that there is some for the next
      const left = Math.floor((limits.windowBytesInAll - memory) / 4)
      const most = Math.max(limits.leastWindowBytes, Math.min(limits.windowBytes, left))
      const bytes = Math.max(1, Math.min(wanted, most))
      memory += bytes
      return bytes
    },
    giveMemory(bytes: number) {
      memory -= bytes
    },
  }

  return {
    get inProgress() {
      return running.size + directs.size
    },

    running: (origin, digest) => joinable.get(keyOf(origin, digest)),

    start(request) {
      const { first } = request
      first.body.on('error', ignore)
      const key = keyOf(request.origin, request.digest)
      const joined = joinable.get(key)
      const refusal = over ? shuttingDown() : misfitOf(request)
      if (joined !== undefined || refusal !== undefined) first.body.destroy()
      if (joined !== undefined) return joined
      if (refusal !== undefined) throw refusal

      const onEnd = (over: RunningFill) => {
        if (joinable.get(key) === over) joinable.delete(key)
      }
      const fill = startFill(request, { ...parts, onEnd })
      running.add(fill)
      if (!draining) joinable.set(key, fill)
      void fill.done.then(() => {
        running.delete(fill)
        tellIfIdle()
      })
      return fill
    },

    async drain(ms) {
      draining = true
      for (const fill of running) if (fill.readers === 0) fill.stop(undefined)
      const idle = new Promise<void>((resolve) => {
        onIdle = resolve
      })
      tellIfIdle()
      const timer = setTimeout(() => {
        over = true
        for (const fill of running) fill.stop(shuttingDown())
        for (const direct of directs) direct.fail(shuttingDown())
      }, ms)
      await idle
      clearTimeout(timer)
    },
  }
}

const shuttingDown = () => new UpstreamError('unavailable', 'shutting down')

/** Injective: a digest holds no blank. */
function keyOf(origin: string, digest: Digest): string {
  return `${digest} ${origin}`
}

function misfitOf({ size, first }: FillRequest): UpstreamError | undefined {
  if (first.start !== 0) return new UpstreamError('invalid-response', 'a range that was not asked for')
  if (size === undefined || first.size === undefined || size === first.size) return undefined
  return new UpstreamError('invalid-response', `a size of ${first.size} instead of ${size} bytes`)
}
