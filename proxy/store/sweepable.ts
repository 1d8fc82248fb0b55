import type { Digest } from '../oci/digest.ts'
import type { BlobStore, DeleteFailure } from './blob-store.ts'
import type { DeletionMarks } from './deletion-marks.ts'
import type { DocumentStore } from './document-store.ts'
import type { Bucket } from './s3-bucket.ts'
import type { Leftover } from './stored-files.ts'

/** What of its stores a process tidies (`proxy/cleanup`). Throws where they are away. */
export interface Sweepable {
  readonly blobs: Pick<BlobStore, 'list'> & {
    /** At most a thousand. */
    deleteMany(blobs: readonly { digest: Digest; etag: string }[]): Promise<readonly DeleteFailure[]>
  }
  readonly documents: Pick<DocumentStore, 'list' | 'get'>
  readonly marks: Omit<DeletionMarks, 'lift'>
  /** Temporary files of this process's own folders that no fill of it writes. */
  leftovers(): AsyncIterable<Leftover>
  /** Undefined where none can be left over. */
  readonly uploads:
    | (Pick<Bucket, 'listUploads' | 'lastPartAt' | 'abortUpload'> & { readonly prefix: string })
    | undefined
}
