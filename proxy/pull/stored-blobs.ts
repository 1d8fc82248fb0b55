import { Readable } from 'node:stream'
import type { Digest } from '../oci/digest.ts'
import type { Eligible } from '../route-table.ts'
import { type RestOfBlob, SpoiledBlobError } from '../store/blob-store.ts'
import type { LinkKey } from '../store/index-store.ts'
import { UpstreamError } from '../upstream/errors.ts'
import type { BlobParts } from './blobs.ts'
import { storedOr } from './failure.ts'
import type { OpenedSource } from './fill.ts'
import { leaseMs, leaseUntil } from './manifests.ts'
import type { BlobAnswer, BlobBody, BlobRequest } from './pull.ts'
import { createBodyOr } from './stored-body.ts'
import { refusalOf } from './trouble.ts'

/** Blobs out of the store, for whoever has shown that they may be served from this place. */
export interface StoredBlobs {
  /**
   * Undefined when the bytes are gone, evicted or spoiled; throws StoreUnavailableError when they are there and not given.
   * Where that shows only when they are read, `instead` is asked for a body.
   */
  answer(
    request: BlobRequest,
    size: number,
    place: Eligible,
    instead: (request: BlobRequest) => Promise<BlobAnswer>,
  ): Promise<BlobAnswer | undefined>
  /** What another replica has put into the store meanwhile; `size` is undefined where that is nothing. */
  source(
    place: Eligible,
    digest: Digest,
    size: number | undefined,
    start: number,
  ): Promise<OpenedSource | undefined>
}

export function createStoredBlobs({
  content,
  uses,
  sources,
  monotonicNow,
}: Pick<BlobParts, 'content' | 'uses' | 'sources' | 'monotonicNow'>): StoredBlobs {
  /** Where the store breaks off the upstream goes on, from that very byte: nobody waits for the others again. */
  function restAt(place: Eligible, digest: Digest): RestOfBlob {
    return async (start, signal) => {
      const refusal = refusalOf(place.upstream)
      if (refusal) throw refusal
      const opened = await sources(place, digest).open(start, signal)
      if (opened.start === start) return opened.body
      opened.body.destroy()
      throw new UpstreamError('invalid-response', 'no range where one was asked for')
    }
  }

  return {
    async answer(request, size, place, instead) {
      const { digest, story, mayRedirect } = request
      const key = linkKeyOf(place, digest)
      const location = mayRedirect ? await content.locate(digest, size) : undefined
      if (location !== undefined) {
        uses.link(key, 1)
        return { ...headOf(digest, size), location }
      }
      const stored = await content.open(digest, size, restAt(place, digest))
      if (!stored) return undefined
      const use = uses.link(key, 1)
      const lease = stored.bytes && leaseUntil(monotonicNow() + leaseMs, monotonicNow, use)
      story.source = stored.bytes ? 'memory' : 'disk'
      const another = async () => (await instead({ ...request, mayRedirect: false })).body!
      const brought = (error: unknown) => storedOr<BlobBody>(Promise.reject(error), another)
      const again = () => content.open(digest, size, restAt(place, digest))
      const next = (error: unknown) => storedOr(behindSpoiled(error, again, brought), another)
      const body = stored.bytes ? stored : createBodyOr(stored, next)
      return { digest, mediaType: undefined, size, body, lease }
    },

    async source(place, digest, size, start) {
      if (size === undefined) return undefined
      const body = await content.open(digest, size, restAt(place, digest))
      return body && { body: streamOf(body, start), start, size, endsByClose: false }
    },
  }
}

/** What S3 has where the copy on our own disk, now taken away, was spoiled. */
async function behindSpoiled(
  error: unknown,
  open: () => Promise<BlobBody | undefined>,
  instead: (error: unknown) => Promise<BlobBody>,
): Promise<BlobBody> {
  const body = error instanceof SpoiledBlobError ? await open() : undefined
  if (!body) throw error
  return createBodyOr(body, instead)
}

export function headOf(digest: Digest, size: number | undefined): BlobAnswer {
  return { digest, mediaType: undefined, size, body: undefined, lease: undefined }
}

export function linkKeyOf({ upstream, repository }: Eligible, digest: Digest): LinkKey {
  return { upstreamId: upstream.id, repository, kind: 'blob', digest }
}

function streamOf(body: BlobBody, start: number): Readable {
  let position = start
  return new Readable({
    read(size) {
      const buffer = Buffer.allocUnsafe(Math.max(size, 256 * 1024))
      body.read(buffer, position).then(
        (length) => {
          position += length
          this.push(length === 0 ? null : buffer.subarray(0, length))
        },
        (error: unknown) =>
          this.destroy(new UpstreamError('unavailable', 'the stored blob cannot be read', { cause: error })),
      )
    },
    destroy(error, done) {
      body.close()
      done(error)
    },
  })
}
