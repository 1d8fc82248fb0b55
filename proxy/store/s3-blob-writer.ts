import { type BlobWriter, NoRoomError, type OtherBringer } from './blob-store.ts'
import type { Upload } from './s3-upload.ts'

/**
 * Writes into the hot tier, from where the parts go to S3 as they are complete. The blob is there when S3 has it; that the
 * hot tier keeps it too is a convenience.
 */
export function createS3BlobWriter({
  local,
  other,
  startUpload,
  inBackground,
}: {
  local: BlobWriter
  /** Who may bring it instead, while we only keep a copy. */
  other: OtherBringer | undefined
  startUpload: () => Upload
  /** What nobody waits for. */
  inBackground: (work: Promise<void>) => void
}): BlobWriter {
  let upload = startUpload()
  let size = 0
  let state: 'open' | 'committing' | 'committed' | 'aborted' = 'open'

  /** Once more from the spool when it failed: S3 may have been away for a moment of a long fill. */
  async function bring(): Promise<void> {
    if (other?.brings) {
      await other.over()
      if (await upload.isThere(size).catch(() => false)) return inBackground(upload.abort())
      upload.advance(size)
    }
    try {
      await upload.finish(size)
    } catch (error) {
      inBackground(upload.abort())
      if (state !== 'committing') throw error
      upload = startUpload()
      upload.advance(size)
      await upload.finish(size)
    }
  }

  async function abort(): Promise<void> {
    if (state === 'committed') return
    if (state !== 'aborted') inBackground(upload.abort())
    state = 'aborted'
    await local.abort()
  }

  return {
    async append(chunks) {
      await local.append(chunks)
      size += chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      if (state === 'open' && !other?.brings) upload.advance(size)
    },

    read: local.read,

    async commit() {
      if (state !== 'open') throw new Error(`the blob is ${state}`)
      state = 'committing'
      await bring()
      if (state !== 'committing') throw new Error('the blob was aborted')
      state = 'committed'
      await local.commit().catch((error: unknown) => {
        if (!(error instanceof NoRoomError)) throw error
      })
    },

    abort,

    async close() {
      await abort()
      await local.close()
    },
  }
}
