import type { Readable } from 'node:stream'
import type { Digest } from '../oci/digest.ts'

/** Content-addressed bytes. Every implementation passes test/contracts/blob-store.ts. */
export interface BlobStore {
  /** Undefined when absent. */
  stat(digest: Digest): Promise<BlobStat | undefined>

  /**
   * Undefined when absent; throws StoreUnavailableError where a remote store does not say or give it. The caller closes it;
   * until then nothing evicts it. Where a remote store breaks off and does not go on, `rest` does; whoever reads along has it too.
   */
  open(digest: Digest, rest?: RestOfBlob): Promise<OpenBlob | undefined>

  /**
   * Begins a blob that nobody else sees before `commit`. Undefined when there is no room for `size` bytes, also after
   * evicting; an unknown size is reserved as it grows. The store checks no digest: the fill does, before it commits.
   */
  create(digest: Digest, size: number | undefined, other?: OtherBringer): Promise<BlobWriter | undefined>

  /** Takes away what another has begun to send for this blob, and will not end. Only where a store is shared. */
  abandonUpload?(digest: Digest, uploadId: string): Promise<void>

  /** Deleting an absent blob succeeds, whatever the condition. False when something else than `ifMatch` is there. */
  delete(digest: Digest, condition?: { ifMatch: string }): Promise<boolean>

  /**
   * A URL from which whoever has it gets the blob for a minute. Undefined where it is not stored in this size, or it is not
   * known to be. Only where clients can reach the store.
   */
  presign?(digest: Digest, size: number): Promise<string | undefined>

  /**
   * For whoever is about to link what is stored already: undefined when it is absent, and for a while nobody deletes it
   * otherwise. What was just committed needs none. Only where blobs are deleted that nothing links.
   */
  retain?(digest: Digest): Promise<BlobStat | undefined>

  list(): AsyncIterable<BlobStat & { readonly digest: Digest; readonly modifiedAt: number }>
}

/** One that was not deleted, and why. */
export interface DeleteFailure {
  readonly digest: Digest
  readonly reason: string
}

export interface BlobStat {
  readonly size: number
  /** Changes when the stored bytes are replaced. */
  readonly etag: string
}

/** The same blob from elsewhere, from a byte to its end; rejects where it cannot be had so. */
export type RestOfBlob = (start: number, signal: AbortSignal) => Promise<Readable>

/** Bytes read by position, by any number of readers at once. */
export interface OpenBlob {
  readonly size: number
  /** Reads up to `buffer.length` bytes at `position`; 0 only at the end. Throws SpoiledBlobError when it falls short. */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** Takes away what was opened, for whoever finds it spoiled: nothing that was stored in its place since. Safe to repeat. */
  discard(): Promise<void>
  /** Safe to repeat. */
  close(): Promise<void>
}

/** A blob being written, in order, and read back meanwhile. `commit` or `abort` ends the writing, `close` the reading. */
export interface BlobWriter {
  /** Appends; one call at a time. Throws NoRoomError when the disk or the budget is full; the writer is then good for `read` and `abort`. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  /** Reads what has been appended; 0 at its present end. Goes on working after `commit` and `abort`, until `close`. */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** Makes the bytes durable and visible under the digest, in that order. Replacing a blob of the same digest is no error. */
  commit(): Promise<void>
  /** Takes the bytes away. Safe to repeat, and after `commit` (which it then does not undo, unless the commit failed). */
  abort(): Promise<void>
  /** Frees the descriptor, and aborts what was not committed; no `read` after it. Safe to repeat. */
  close(): Promise<void>
}

/** Another replica that may bring the same blob to a shared store. */
export interface OtherBringer {
  /** True while it is the other's to bring: nothing of it need be sent. */
  readonly brings: boolean
  /** Resolves when the other has ended, well or not. */
  over(): Promise<void>
  /** We have begun to send, under this id. */
  uploading(uploadId: string): void
}

/** The budget or the disk is full: the caller goes on without storing. */
export class NoRoomError extends Error {
  override readonly name = 'NoRoomError'
}

/** The stored bytes are not what they were: shorter, or not to be read. The caller cuts, discards the blob and goes on. */
export class SpoiledBlobError extends Error {
  override readonly name = 'SpoiledBlobError'
}

/** `sha256:ab12…` is kept at `sha256/ab/ab12…`; the fan-out keeps folders small. */
export function blobKey(digest: Digest): string {
  const [algorithm, hex] = digest.split(':') as [string, string]
  return `${algorithm}/${hex.slice(0, 2)}/${hex}`
}
