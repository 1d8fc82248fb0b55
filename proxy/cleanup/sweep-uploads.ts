import type { Sweepable } from '../store/sweepable.ts'

/** Of one sweep; what is beyond comes next time. */
const maxAborted = 1_000

/**
 * Aborts what was begun, and not brought on, for so long: its fill has died, since one that lives sends parts. One that was
 * only very slow begins anew from its spool. Times are the server's.
 */
export async function sweepUploads(
  bucket: NonNullable<Sweepable['uploads']>,
  before: number,
): Promise<number> {
  let aborted = 0
  for await (const { key, uploadId, startedAt } of bucket.listUploads(bucket.prefix)) {
    if (startedAt > before || ((await bucket.lastPartAt(key, uploadId)) ?? startedAt) > before) continue
    await bucket.abortUpload(key, uploadId)
    aborted += 1
    if (aborted >= maxAborted) break
  }
  return aborted
}
