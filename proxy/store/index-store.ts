import type { Digest } from '../oci/digest.ts'

/**
 * What is known of each cached reference, for quick answers: all of it can be rebuilt from the documents, so losing it
 * loses no image. Every implementation passes test/contracts/index-store.ts. Times are milliseconds since the epoch.
 */
export interface IndexStore {
  getTag(key: TagKey): Promise<TagEntry | undefined>
  /**
   * Keeps the entry with the later `writtenAt`, of two written at once the one checked later: an older write never wins
   * over a newer. What was recorded of its use stays.
   */
  putTag(key: TagKey, entry: TagEntry): Promise<void>
  /** Moves `checkedAt` if the entry still names `digest`. */
  touchTag(key: TagKey, digest: Digest, checkedAt: number): Promise<void>
  deleteTag(key: TagKey): Promise<void>

  getLink(key: LinkKey): Promise<LinkEntry | undefined>
  /** Also remembers possession (its origin, its digest) and the digest's children as mentioned. Its use stays. */
  putLink(key: LinkKey, entry: LinkEntry): Promise<void>
  /** Forgets what only this link mentioned, and possession with the last link that had it. */
  deleteLink(key: LinkKey): Promise<void>

  /** The size of bytes that this origin once sent and that hashed to the digest; undefined when it is not known to have. */
  getPossession(origin: string, digest: Digest): Promise<number | undefined>
  /** What a linked manifest of this upstream and repository says of a digest it lists; undefined when none lists it. */
  getMention(upstreamId: string, repository: string, digest: Digest): Promise<Mention | undefined>

  /** Adds up uses: `usedAt` becomes the later, `downloads` are added. Unknown entries are ignored. */
  recordUses(uses: readonly Use[]): Promise<void>

  listTags(upstreamId: string): AsyncIterable<Listed<TagKey, TagEntry>>
  listLinks(upstreamId: string): AsyncIterable<Listed<LinkKey, LinkEntry>>
  /** Ids of every upstream with an entry. */
  listUpstreams(): AsyncIterable<string>

  /** News of what other replicas write; undefined where nobody else does. */
  readonly changes?: Changes
  /** What is pending at any replica; undefined where there are no others. */
  readonly pending?: SharedPending

  close(): Promise<void>
}

/** What memory holds is good as long as it would have been heard that it is not. */
export interface Changes {
  /** Another number after each gap in the news; undefined as long as a gap lasts. */
  epoch(): number | undefined
  /** Tells the others that what is kept under this key of a document is another now. Waits for nothing. */
  announce(key: string): void
  /** For one listener, which is told each key that another replica has announced. */
  listen(onChange: (key: string) => void): void
}

/**
 * A HEAD and the GET by digest that follows it may come to different replicas. What is known here for an hour at most is
 * not made up for where it is lost: the tag is then found at its next check.
 */
export interface SharedPending {
  /** Replaces what was pending for the tag, but for its walks, which stay. */
  put(key: TagKey, pending: PendingTag): Promise<void>
  /** Tags of this repository for which the digest is pending, a hundred at most. */
  on(place: Pick<TagKey, 'upstreamId' | 'repository'>, digest: Digest): Promise<readonly FoundPending[]>
}

export interface FoundPending {
  readonly key: TagKey
  readonly pending: PendingTag
}

/** What a HEAD learned of a tag whose manifest has not been fetched. */
export interface PendingTag {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  /** When the HEAD was asked; undefined for what an older replica says, which tells only when it was answered. */
  readonly askedAt?: number | undefined
  readonly checkedAt: number
  readonly walks: readonly Walk[]
}

export interface Listed<Key, Entry> {
  readonly key: Key
  readonly entry: Entry
  /** Undefined when no use was recorded. */
  readonly usedAt: number | undefined
  readonly downloads: number
}

export interface TagKey {
  readonly upstreamId: string
  /** As sent upstream. */
  readonly repository: string
  /** A tag; or `referrers/<algorithm>/<hex>` for the cached referrers of a subject, which age as a tag does. */
  readonly tag: string
}

/** The right to serve a digest, as a manifest or as a blob, from a repository through an upstream. */
export interface LinkKey {
  readonly upstreamId: string
  /** As sent upstream. */
  readonly repository: string
  readonly kind: LinkKind
  readonly digest: Digest
}

export interface TagEntry {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  /** When the document was written: decides which of two writes is the newer. */
  readonly writtenAt: number
  /** When the upstream last said that the tag is this digest; 0 when that is not known, which makes it stale. */
  readonly checkedAt: number
  /** Registries whose own walk ended here, each with the `ns` it was asked with. */
  readonly walks: readonly Walk[]
}

export interface Walk {
  /** `<namespace>/<name>` of the virtual registry. */
  readonly registry: string
  /** Empty for none. */
  readonly ns: string
}

export type LinkKind = 'manifest' | 'blob'

export interface LinkEntry {
  readonly mediaType: string
  readonly size: number
  readonly origin: string
  /** What a manifest lists: its config, layers, children and blobs. */
  readonly children: readonly Mention[]
  /** The digest a manifest names as its subject. */
  readonly subject?: Digest | undefined
}

export interface Mention {
  readonly digest: Digest
  readonly kind: LinkKind
  readonly mediaType: string
  readonly size: number
}

/** What can be used. */
export type UseKey =
  | { readonly tag: TagKey; readonly link?: undefined }
  | { readonly link: LinkKey; readonly tag?: undefined }

export type Use = { readonly usedAt: number; readonly downloads: number } & UseKey
