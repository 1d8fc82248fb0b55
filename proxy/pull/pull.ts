import type { Digest } from '../oci/digest.ts'
import type { Reference } from '../oci/reference.ts'
import type { Registry } from '../route-table.ts'

/** What the edge asks of the pull path. Every failure is an OciError, or a mistake of ours. */
export interface Pull {
  manifest(request: ManifestRequest): Promise<ManifestAnswer>
  blob(request: BlobRequest): Promise<BlobAnswer>
  /** `name` is the repository as the client wrote it, with the registry's path where that was written. */
  tags(request: PullRequest & { readonly name: string; readonly query: URLSearchParams }): Promise<ListAnswer>
  referrers(
    request: PullRequest & { readonly subject: Digest; readonly query: URLSearchParams },
  ): Promise<ListAnswer>
}

export interface PullRequest {
  readonly registry: Registry
  /** As the client wrote it, without the registry's path; authorised already. */
  readonly repository: string
  /** The value of `?ns=`, lower-case; empty for none. */
  readonly ns: string
  readonly method: 'GET' | 'HEAD'
  /** Written to as the pull goes: the fields of its log line. */
  readonly story: Story
}

export interface ManifestRequest extends PullRequest {
  readonly reference: Reference
}

export interface BlobRequest extends PullRequest {
  readonly digest: Digest
  /** The client may be sent to where the bytes are stored. */
  readonly mayRedirect?: boolean
}

export type Outcome = 'hit' | 'miss' | 'revalidated' | 'stale-served' | 'redirect'

/** Mutable on purpose: it is filled in along the way, also of a pull that fails. */
export interface Story {
  outcome?: Outcome
  /** `<namespace>/<name>` of the upstream that the answer is from. */
  upstream?: string
  source?: BlobSource
  /** What each upstream said in a walk or a check, in order: `hub: 404`, `quay: timeout`. At most 20. */
  readonly trail: string[]
}

export interface ManifestAnswer {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  /** Undefined for HEAD. */
  readonly bytes: Buffer | undefined
  /** Set when a cached answer is given although its upstream could not confirm it: the text of `Warning: 299`. */
  readonly warning: string | undefined
  /** Says how long this very answer may be given again to the same request without asking; undefined when it may not. */
  readonly lease: Lease | undefined
}

/** An answer that may be repeated while `current()` holds. `use` counts the repetition as a use of the cached entry. */
export interface Lease {
  current(): boolean
  use(): void
}

export type BlobSource = 'memory' | 'disk' | 'fill' | 'direct' | 'upstream-head'

export interface BlobAnswer {
  readonly digest: Digest
  readonly mediaType: string | undefined
  /** Undefined for a fill whose source did not say. */
  readonly size: number | undefined
  /** Undefined for HEAD, and where there is a location. The edge closes it. */
  readonly body: BlobBody | undefined
  /** Where the client gets it: a secret for a minute, for nobody else. */
  readonly location?: string
  /** As of a manifest's answer: only for blobs held in memory. */
  readonly lease: Lease | undefined
}

/**
 * Bytes read by position. `read` fills up to `buffer.length` bytes from `position` and gives 0 only at the proven end;
 * it waits while a running fill has not come so far, and throws when the fill fails: the edge then cuts the connection.
 * Positions asked of one body never go back.
 */
export interface BlobBody {
  readonly size: number | undefined
  /** Set when all of the blob is in memory: then nothing else need be called but `close`. */
  readonly bytes: Buffer | undefined
  read(buffer: Uint8Array, position: number): Promise<number>
  /** Safe to repeat; ends a pending `read` soon. */
  close(): void
}

export interface ListAnswer {
  readonly body: Buffer
  readonly mediaType: string
  /** The query of the next page, for `Link: <path?query>; rel="next"`; undefined on the last page. */
  readonly next: string | undefined
  readonly filtersApplied: string | undefined
  readonly warning: string | undefined
}
