import { LRUCache } from 'lru-cache'
import type { Digest } from '../oci/digest.ts'
import type { FoundPending, PendingTag, SharedPending, TagKey } from '../store/index-store.ts'
import { tagDocumentKey } from '../store/keys.ts'

/** What HEADs learned of tags whose manifests have not been fetched: by tag, and by the digest that a GET will ask for. */
export interface PendingTags {
  /** What was learned here. */
  get(key: TagKey): PendingTag | undefined
  /** Resolves when other replicas can find it, or never will. */
  set(key: TagKey, pending: PendingTag): Promise<void>
  /** By the name of the tag's document: here alone. */
  delete(name: string): void
  on(place: PendingPlace, digest: Digest): readonly TagKey[]
  /** The same of all replicas. One that asks is told of its own too. */
  everywhere(place: PendingPlace, digest: Digest): Promise<readonly FoundPending[]>
}

export type PendingPlace = Pick<TagKey, 'upstreamId' | 'repository'>

/** Each takes about half a kilobyte of memory. */
const maxPending = 10_000

export function createPendingTags({
  shared,
  onFailure,
}: {
  /** Undefined where there are no other replicas. */
  shared: SharedPending | undefined
  onFailure: (operation: string, error: unknown) => void
}): PendingTags {
  const pendings = new LRUCache<string, { key: TagKey; pending: PendingTag }>({
    max: maxPending,
    dispose({ key, pending }, name) {
      const digestName = digestNameOf(key, pending.digest)
      const keys = byDigest.get(digestName)
      keys?.delete(name)
      if (keys?.size === 0) byDigest.delete(digestName)
    },
  })
  const byDigest = new Map<string, Map<string, TagKey>>()

  return {
    get: (key) => pendings.get(tagDocumentKey(key))?.pending,

    async set(key, pending) {
      const name = tagDocumentKey(key)
      pendings.set(name, { key, pending })
      const digestName = digestNameOf(key, pending.digest)
      byDigest.set(digestName, (byDigest.get(digestName) ?? new Map<string, TagKey>()).set(name, key))
      await shared?.put(key, pending).catch((error: unknown) => onFailure('index.putPending', error))
    },

    delete: (name) => void pendings.delete(name),

    on: (place, digest) => [...(byDigest.get(digestNameOf(place, digest))?.values() ?? [])],

    async everywhere(place, digest) {
      try {
        return (await shared?.on(place, digest)) ?? []
      } catch (error) {
        onFailure('index.pendingOn', error)
        return []
      }
    },
  }
}

function digestNameOf({ upstreamId, repository }: PendingPlace, digest: Digest): string {
  return `${upstreamId} ${repository} ${digest}`
}
