import type { DocumentStore } from './document-store.ts'
import { parseLinkDocument, parseTagDocument } from './documents.ts'
import type { IndexStore } from './index-store.ts'
import { parseDocumentKey } from './keys.ts'

/**
 * Tells the index of every document. Safe to repeat and to stop half-way: what the index knows better (a later check, uses)
 * stays. For an index that nothing else deletes from meanwhile.
 */
export async function rebuildIndex(
  documents: DocumentStore,
  index: IndexStore,
): Promise<{ readonly tags: number; readonly links: number; readonly skipped: number }> {
  const counts = { tags: 0, links: 0, skipped: 0 }
  for await (const key of documents.list('')) {
    const parsed = parseDocumentKey(key)
    const body = parsed && (await documents.get(key))?.body
    const tag = parsed?.tag && body !== undefined && parseTagDocument(body)
    const link = parsed?.link && body !== undefined && parseLinkDocument(body)
    if (tag) {
      await index.putTag(parsed.tag, tag)
      counts.tags += 1
    } else if (link) {
      await index.putLink(parsed.link, link)
      counts.links += 1
    } else {
      counts.skipped += 1
    }
  }
  return counts
}
