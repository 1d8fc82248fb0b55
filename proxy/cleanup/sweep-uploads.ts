import type { Sweepable } from '../store/sweepable.ts'

export interface SweptUploads {
  readonly aborted: number
  readonly failures: readonly UploadFailure[]
}

/** One that was not taken away, and why. */
export interface UploadFailure {
  readonly upload: string
  readonly reason: string
}

/** Of one sweep; what is beyond comes next time. */
const maxAborted = 1_000
/** Each may take as long as S3 is waited for. */
const maxFailed = 20

/**
 * Aborts what was begun, and not brought on, for so long: its fill has died, since one that lives sends parts. One that was
 * only very slow begins anew from its spool. Times are the server's. One that fails does not stand in the way of others.
 */
export async function sweepUploads(
  bucket: NonNullable<Sweepable['uploads']>,
  before: number,
): Promise<SweptUploads> {
  let aborted = 0
  const failures: UploadFailure[] = []
  for await (const { key, uploadId, startedAt } of bucket.listUploads(bucket.prefix)) {
    try {
      if (startedAt > before || ((await bucket.lastPartAt(key, uploadId)) ?? startedAt) > before) continue
      await bucket.abortUpload(key, uploadId)
      aborted += 1
    } catch (error) {
      failures.push({ upload: key, reason: reasonOf(error as Error) })
    }
    if (aborted >= maxAborted || failures.length >= maxFailed) break
  }
  return { aborted, failures }
}

/** What S3 said is the cause of what its store says. */
function reasonOf({ message, cause }: Error): string {
  return cause instanceof Error ? `${message}: ${cause.message}` : message
}
