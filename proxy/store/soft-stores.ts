import { LRUCache } from 'lru-cache'
import { StoreUnavailableError } from './breaker.ts'
import type { DocumentStore } from './document-store.ts'
import type { IndexStore, SharedPending, Use } from './index-store.ts'
import { linkDocumentKey, tagDocumentKey } from './keys.ts'

/** Documents that are absent while their store is away: a pull then asks upstream, as for what it never saw. */
export function softDocuments(documents: DocumentStore): DocumentStore {
  return { ...documents, get: (key) => orAbsent(documents.get(key)) }
}

/** Nothing is pending elsewhere while the index is away. */
export function softPending(pending: SharedPending): SharedPending {
  return {
    put: async (key, tag) => void (await orAbsent(pending.put(key, tag))),
    on: async (place, digest) => (await orAbsent(pending.on(place, digest))) ?? [],
  }
}

export interface SoftIndex extends IndexStore {
  /**
   * Makes up for what could not be written while the index was away, and announces it. Throws what the first came to that is
   * refused now.
   */
  catchUp(): Promise<void>
}

/** So much is kept of what an index that is away was to be told; about 20 MB. */
const maxUnsent = 20_000

/**
 * An index that knows nothing while it is away. What it must not be left without is told it later: the latest state of
 * tags, since an older one would be believed, what was deleted, and uses. Links it finds again in their documents.
 */
export function createSoftIndex(
  index: IndexStore,
  announce: NonNullable<IndexStore['changes']>['announce'] = () => {},
): SoftIndex {
  const unsent = new LRUCache<string, () => Promise<void>>({ max: maxUnsent })
  const unsentUses = new LRUCache<string, Use>({ max: maxUnsent })

  async function write(work: () => Promise<void>, later?: string): Promise<void> {
    try {
      await work()
      if (later !== undefined) unsent.delete(later)
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error
      if (later !== undefined) unsent.set(later, work)
    }
  }

  function keepUse(use: Use): void {
    const key = use.tag ? tagDocumentKey(use.tag) : linkDocumentKey(use.link)
    const before = unsentUses.get(key)
    const usedAt = Math.max(use.usedAt, before?.usedAt ?? 0)
    unsentUses.set(key, { ...use, usedAt, downloads: use.downloads + (before?.downloads ?? 0) })
  }

  async function recordUses(uses: readonly Use[]): Promise<void> {
    try {
      await index.recordUses(uses)
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error
      for (const use of uses) keepUse(use)
    }
  }

  return {
    getTag: (key) => orAbsent(index.getTag(key)),
    putTag: (key, entry) => write(() => index.putTag(key, entry), tagDocumentKey(key)),
    touchTag: (key, digest, checkedAt) => write(() => index.touchTag(key, digest, checkedAt)),
    deleteTag: (key) => write(() => index.deleteTag(key), tagDocumentKey(key)),
    getLink: (key) => orAbsent(index.getLink(key)),
    putLink: (key, entry) => {
      unsent.delete(linkDocumentKey(key))
      return write(() => index.putLink(key, entry))
    },
    deleteLink: (key) => write(() => index.deleteLink(key), linkDocumentKey(key)),
    getPossession: (origin, digest) => orAbsent(index.getPossession(origin, digest)),
    getMention: (upstreamId, repository, digest) =>
      orAbsent(index.getMention(upstreamId, repository, digest)),
    recordUses,
    listTags: (upstreamId) => index.listTags(upstreamId),
    listLinks: (upstreamId) => index.listLinks(upstreamId),
    listUpstreams: () => index.listUpstreams(),
    close: () => index.close(),

    async catchUp() {
      const refusals: unknown[] = []
      for (const [key, work] of [...unsent.entries()]) {
        await write(work, key).catch((error: unknown) => refusals.push(error))
        // others may have read the older state since they were told
        if (!unsent.has(key)) announce(key)
      }
      const uses = [...unsentUses.values()]
      unsentUses.clear()
      if (uses.length > 0) await recordUses(uses)
      if (refusals.length > 0) throw refusals[0]
    },
  }
}

async function orAbsent<T>(answer: Promise<T | undefined>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (error instanceof StoreUnavailableError) return undefined
    throw error
  }
}
