import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DeleteFailure } from '../store/blob-store.ts'
import type { Leftover } from '../store/stored-files.ts'
import type { Sweepable } from '../store/sweepable.ts'
import { sweepUnlinked } from './sweep-unlinked.ts'
import { sweepUploads, type UploadFailure } from './sweep-uploads.ts'

export interface SweepParts {
  readonly stores: Sweepable
  /** Whether this is the replica that tidies what all of them share. */
  readonly maySweepShared: () => boolean | Promise<boolean>
  /** Milliseconds since the epoch. */
  readonly now: () => number
  readonly monotonicNow: () => number
  readonly graceMs?: number
  /** How long a temporary file or an upload is not touched after the last byte came. */
  readonly leftoverMs?: number
}

export interface SweepReport {
  readonly files: number
  readonly fileBytes: number
  readonly uploads: number
  readonly marked: number
  readonly blobs: number
  readonly blobBytes: number
  /** What was to be taken away and was not. */
  readonly failures: readonly (DeleteFailure | UploadFailure)[]
  /** What was not looked through to its end; the others were. */
  readonly endedEarly: readonly { readonly part: SweepPart; readonly error: unknown }[]
}

export type SweepPart = 'files' | 'uploads' | 'blobs'

export interface SweepObserver {
  swept(report: SweepReport): void
}

const hourMs = 3_600_000
/** Of the time at most, where there is much to look through. */
const share = 20

/** Once. Safe to repeat, and to run beside pulls and beside another sweep. */
export async function sweep(parts: SweepParts): Promise<SweepReport> {
  const { stores, maySweepShared, now, monotonicNow, graceMs = hourMs / 2, leftoverMs = hourMs } = parts
  const before = now() - leftoverMs
  const endedEarly: { part: SweepPart; error: unknown }[] = []
  async function attempt<T>(part: SweepPart, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work()
    } catch (error) {
      endedEarly.push({ part, error })
      return undefined
    }
  }

  const files = await attempt('files', () => sweepFiles(stores.leftovers(), before))
  const report = { files: 0, fileBytes: 0, uploads: 0, marked: 0, blobs: 0, blobBytes: 0, ...files }
  if (!(await maySweepShared())) return { ...report, failures: [], endedEarly }

  const { uploads } = stores
  const tidied = uploads && (await attempt('uploads', () => sweepUploads(uploads, before)))
  const swept = await attempt('blobs', () => sweepUnlinked({ ...stores, now, monotonicNow, graceMs }))
  return {
    ...report,
    uploads: tidied?.aborted ?? 0,
    ...(swept && { marked: swept.marked, blobs: swept.deleted, blobBytes: swept.deletedBytes }),
    failures: [...(tidied?.failures ?? []), ...(swept?.failures ?? [])],
    endedEarly,
  }
}

/** Soon after the start and each hour from then on, until the signal is aborted. */
export async function runSweeps(
  parts: SweepParts,
  observer: SweepObserver,
  signal: AbortSignal,
  { firstMs = 60_000, eachMs = hourMs } = {},
): Promise<void> {
  for (let waitMs = firstMs; ; ) {
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => {})
    if (signal.aborted) return
    const begun = parts.monotonicNow()
    observer.swept(await sweep(parts))
    waitMs = Math.max(eachMs, share * (parts.monotonicNow() - begun))
  }
}

async function sweepFiles(
  leftovers: AsyncIterable<Leftover>,
  before: number,
): Promise<{ files: number; fileBytes: number }> {
  let files = 0
  let fileBytes = 0
  for await (const { path, size, modifiedAt } of leftovers) {
    if (modifiedAt > before) continue
    await rm(path, { recursive: true, force: true })
    files += 1
    fileBytes += size
  }
  return { files, fileBytes }
}
