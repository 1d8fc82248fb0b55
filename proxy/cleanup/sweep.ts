import { rm } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { DeleteFailure } from '../store/blob-store.ts'
import type { Leftover } from '../store/stored-files.ts'
import type { Sweepable } from '../store/sweepable.ts'
import { sweepUnlinked } from './sweep-unlinked.ts'
import { sweepUploads } from './sweep-uploads.ts'

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
  readonly failures: readonly DeleteFailure[]
}

export interface SweepObserver {
  swept(report: SweepReport): void
  /** It ended before its end; what is left is the next one's. */
  sweepFailed(error: unknown): void
}

const hourMs = 3_600_000
/** Of the time at most, where there is much to look through. */
const share = 20

/** Once. Safe to repeat, and to run beside pulls and beside another sweep. */
export async function sweep(parts: SweepParts): Promise<SweepReport> {
  const { stores, maySweepShared, now, monotonicNow, graceMs = hourMs / 2, leftoverMs = hourMs } = parts
  const before = now() - leftoverMs
  const { files, fileBytes } = await sweepFiles(stores.leftovers(), before)
  const report = { files, fileBytes, uploads: 0, marked: 0, blobs: 0, blobBytes: 0, failures: [] }
  if (!(await maySweepShared())) return report

  const uploads = stores.uploads ? await sweepUploads(stores.uploads, before) : 0
  const swept = await sweepUnlinked({ ...stores, now, monotonicNow, graceMs })
  const { marked, deleted: blobs, deletedBytes: blobBytes, failures } = swept
  return { ...report, uploads, marked, blobs, blobBytes, failures }
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
    try {
      observer.swept(await sweep(parts))
    } catch (error) {
      observer.sweepFailed(error)
    }
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
