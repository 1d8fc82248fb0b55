import { setTimeout as sleep } from 'node:timers/promises'
import { StoreUnavailableError } from './breaker.ts'
import type { DocumentStore } from './document-store.ts'
import { parseLinkDocument, parseTagDocument } from './documents.ts'
import type { IndexStore } from './index-store.ts'
import { parseDocumentKey, parseUsesDocumentKey } from './keys.ts'
import { restoreUses, type UseTotals } from './use-snapshots.ts'

export interface Rebuilt {
  readonly tags: number
  readonly links: number
  /** Of tags and links, as of the last snapshot. */
  readonly uses: number
  /** Documents that are none of ours, or do not parse. */
  readonly skipped: number
}

/**
 * Tells the index of every document. Safe to repeat and to stop half-way: what the index knows better (a later check, uses)
 * stays. For an index that nothing else deletes from meanwhile. Where a document or the index is away for some seconds it
 * is waited for; any other failure ends it, also of the list.
 */
export async function rebuildIndex(
  documents: DocumentStore,
  index: IndexStore,
  {
    atOnce = 1,
    totals,
    onProgress = () => {},
  }: {
    /** So many documents are read at a time. */
    readonly atOnce?: number
    /** Where uses were kept, they are restored in the end. */
    readonly totals?: UseTotals
    readonly onProgress?: (done: Rebuilt) => void
  } = {},
): Promise<Rebuilt> {
  const counts = { tags: 0, links: 0, uses: 0, skipped: 0 }
  /** One for each repository at most. */
  const snapshots: string[] = []

  async function tell(key: string): Promise<keyof Rebuilt | undefined> {
    if (parseUsesDocumentKey(key)) {
      snapshots.push(key)
      return undefined
    }
    const parsed = parseDocumentKey(key)
    const body = parsed && (await documents.get(key))?.body
    const tag = parsed?.tag && body !== undefined && parseTagDocument(body)
    const link = parsed?.link && body !== undefined && parseLinkDocument(body)
    if (tag) {
      await index.putTag(parsed.tag, tag)
      return 'tags'
    }
    if (!link) return 'skipped'
    await index.putLink(parsed.link, link)
    return 'links'
  }

  const keys = documents.list('')[Symbol.asyncIterator]()
  let failed = false
  async function work(): Promise<void> {
    try {
      for (let next = await keys.next(); !next.done && !failed; next = await keys.next()) {
        const { value } = next
        const told = await patiently(() => tell(value))
        if (told) counts[told] += 1
        onProgress(counts)
      }
    } catch (error) {
      failed = true
      throw error
    }
  }

  async function restore(): Promise<void> {
    while (totals && snapshots.length > 0) {
      const key = snapshots.pop()!
      counts.uses += (await patiently(() => restoreUses(documents, totals, key))) ?? 0
      onProgress(counts)
    }
  }

  await Promise.all(Array.from({ length: atOnce }, work))
  await Promise.all(Array.from({ length: atOnce }, restore))
  return counts
}

const firstPauseMs = 250
const lastPauseMs = 4_000

async function patiently<T>(work: () => Promise<T>): Promise<T> {
  for (let pauseMs = firstPauseMs; ; pauseMs *= 2) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof StoreUnavailableError) || pauseMs > lastPauseMs) throw error
    }
    await sleep(pauseMs)
  }
}
