import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import { type BlobStore, blobKey, type DeleteFailure, type OpenBlob, type RestOfBlob } from './blob-store.ts'
import { StoreUnavailableError } from './breaker.ts'
import type { FileBlobStore } from './file-blob-store.ts'
import { createGate } from './gate.ts'
import { createS3BlobWriter } from './s3-blob-writer.ts'
import type { Bucket } from './s3-bucket.ts'
import { type Download, startDownload } from './s3-download.ts'
import { createUpload } from './s3-upload.ts'
import { digestAt } from './stored-files.ts'

export interface S3BlobStore extends BlobStore {
  /** Resolves when nothing is under way that nobody waits for. */
  settled(): Promise<void>
  /** At most a thousand. */
  deleteMany(blobs: readonly { digest: Digest; etag: string }[]): Promise<readonly DeleteFailure[]>
}

export const blobRoot = 'blobs/'

/** Parts in memory at a time, each of 8 MiB unless the blob is very large. */
const partsAtOnce = 6

/** For so long clients are sent to a blob that was there without looking again: to an S3 that just went, no longer. */
const defaultSeenMs = 1_000
const maxSeen = 20_000
/** As long as a request may take that found it so. */
const withheldMs = 15_000
const maxWithheld = 20_000

const keyOf = (digest: Digest) => blobRoot + blobKey(digest)

/**
 * Blobs in S3 behind a hot tier on local disk. A blob is there when S3 has it. Where S3 is away, what the hot tier has
 * is read on; of all else nobody knows whether it is there: it is not counted on, and to open it throws
 * StoreUnavailableError. So it is, for a while, with what S3 says it has and does not give, only that S3 may give it now.
 */
export function createS3BlobStore({
  bucket,
  hot,
  observer,
  partBytes,
  seenMs = defaultSeenMs,
}: {
  bucket: Bucket
  hot: FileBlobStore
  observer: Pick<Observer, 'storeFailure'>
  /** For tests. */
  partBytes?: number
  /** For tests. */
  seenMs?: number
}): S3BlobStore {
  const gate = createGate(partsAtOnce)
  const downloads = new Map<Digest, Promise<Download | undefined>>()
  const background = new Set<Promise<void>>()
  /** Sizes. Those who ask at once share a question. */
  const seen = new LRUCache<Digest, number>({
    max: maxSeen,
    ttl: seenMs,
    fetchMethod: async (digest) => (await bucket.head(keyOf(digest)))?.size,
  })

  const withheld = new LRUCache<Digest, true>({ max: maxWithheld, ttl: withheldMs })

  function inBackground(work: Promise<void>, operation: string): void {
    const watched = work
      .catch((error: unknown) => tell(operation, error))
      .finally(() => background.delete(watched))
    background.add(watched)
  }

  /** That S3 is away has been told when its breaker opened. */
  function tell(operation: string, error: unknown): void {
    if (!(error instanceof StoreUnavailableError && !bucket.available))
      observer.storeFailure(operation, error)
  }

  /** Undefined where S3 does not have it. Whoever comes meanwhile reads along, or is told the same. */
  function download(digest: Digest, rest: RestOfBlob | undefined): Promise<Download | undefined> {
    const running = downloads.get(digest)
    if (running) return running
    const isAsked = bucket.available
    const starting = start(digest, rest).catch((error: unknown) => {
      if (isAsked) withheld.set(digest, true)
      tell('blob.open', error)
      if (error instanceof StoreUnavailableError) throw error
      throw new StoreUnavailableError('S3 does not give the object', { cause: error })
    })
    downloads.set(digest, starting)
    const over = starting.then(
      (started) => started?.done,
      () => undefined,
    )
    inBackground(
      over.finally(() => downloads.delete(digest)),
      'blob.download',
    )
    return starting
  }

  async function start(digest: Digest, rest: RestOfBlob | undefined): Promise<Download | undefined> {
    const key = keyOf(digest)
    const object = await bucket.open(key)
    if (!object) return undefined
    const { size, etag, body } = object
    const writer = await hot.create(digest, size).catch((error: unknown) => {
      tell('blob.create', error)
      return undefined
    })
    let discarding: Promise<void> | undefined
    const remote = {
      ...{ digest, size, rest },
      reopen: async (from: number) => (await bucket.open(key, { start: from, ifMatch: etag }))?.body,
      onWithheld(error: unknown) {
        withheld.set(digest, true)
        tell('blob.withheld', error)
      },
      discard() {
        discarding ??= discard(digest, etag)
        return discarding
      },
    }
    return startDownload(remote, body, writer, (error) => tell('blob.download', error))
  }

  async function discard(digest: Digest, etag: string): Promise<void> {
    withheld.set(digest, true)
    seen.delete(digest)
    await hot.delete(digest)
    await bucket.delete(keyOf(digest), etag).catch((error: unknown) => tell('blob.discard', error))
  }

  return {
    async stat(digest) {
      if (withheld.has(digest)) return hot.stat(digest)
      try {
        return await bucket.head(keyOf(digest))
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error
        return hot.stat(digest)
      }
    },

    async open(digest, rest): Promise<OpenBlob | undefined> {
      const blob = (await hot.open(digest)) ?? (await download(digest, rest))?.open()
      // A download may have ended just now, which put it into the hot tier.
      return blob ?? hot.open(digest)
    },

    async create(digest, size, other) {
      const local = await hot.create(digest, size)
      if (!local) return undefined
      const onBegun = other && ((uploadId: string) => other.uploading(uploadId))
      const options = { bucket, key: keyOf(digest), size, read: local.read, gate, onBegun }
      return createS3BlobWriter({
        local,
        other,
        startUpload: () => createUpload({ ...options, ...(partBytes === undefined ? {} : { partBytes }) }),
        inBackground: (work) => inBackground(work, 'blob.abort'),
      })
    },

    abandonUpload: (digest, uploadId) => bucket.abortUpload(keyOf(digest), uploadId),

    async presign(digest, size) {
      if (!bucket.available || withheld.has(digest)) return undefined
      try {
        return (await seen.fetch(digest)) === size ? await bucket.presign(keyOf(digest)) : undefined
      } catch (error) {
        tell('blob.presign', error)
        return undefined
      }
    },

    async delete(digest, condition) {
      seen.delete(digest)
      // An etag of the hot tier was given where S3 was away.
      if (condition && (await hot.stat(digest))?.etag === condition.ifMatch)
        return hot.delete(digest, condition)
      const deleted = await bucket.delete(keyOf(digest), condition?.ifMatch)
      if (deleted) await hot.delete(digest)
      return deleted
    },

    async deleteMany(blobs) {
      const objects = blobs.map(({ digest, etag }) => ({ key: keyOf(digest), etag }))
      const failures = new Map((await bucket.deleteMany(objects)).map(({ key, reason }) => [key, reason]))
      const failed: DeleteFailure[] = []
      for (const { digest } of blobs) {
        const reason = failures.get(keyOf(digest))
        seen.delete(digest)
        if (reason === undefined)
          await hot.delete(digest).catch((error: unknown) => tell('blob.delete', error))
        else failed.push({ digest, reason })
      }
      return failed
    },

    async *list() {
      for await (const { key, size, etag, modifiedAt } of bucket.list(blobRoot)) {
        const digest = digestAt(key.slice(blobRoot.length))
        if (digest) yield { digest, size, etag, modifiedAt }
      }
    },

    async settled() {
      while (background.size > 0) await Promise.all(background)
    },
  }
}
