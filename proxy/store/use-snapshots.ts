import { StoreUnavailableError } from './breaker.ts'
import type { DocumentStore } from './document-store.ts'
import { formatUsesDocument, parseUsesDocument } from './documents.ts'
import type { TagKey, Use, UseKey } from './index-store.ts'
import { linkDocumentKey, parseUsesDocumentKey, tagDocumentKey, usesDocumentKey } from './keys.ts'

/** What an index that can lose its data knows of uses. */
export interface UseTotals {
  /** What was never used, or is not known, is left out. */
  read(keys: readonly UseKey[]): Promise<readonly Use[]>
  /** Times and counts become at least these. Unknown entries are ignored. */
  raise(uses: readonly Use[]): Promise<void>
}

/**
 * Uses kept beside the documents, one document for each repository: what an index that lost its data gets back. Of two
 * numbers the larger counts, so any replica may write it at any time, and reading it back twice is reading it once.
 */
export interface UseSnapshots {
  /** Writes what the index says of these by now. Resolves with those that it could not, since a store is away. */
  write(keys: readonly UseKey[]): Promise<readonly UseKey[]>
}

type Place = Pick<TagKey, 'upstreamId' | 'repository'>

/** Of each of tags, manifests and blobs; beyond it those used least recently are left out. */
const maxUses = 20_000
/** Repositories written at a time. */
const atOnce = 8
/** So many times another replica may write a snapshot while we do. */
const maxConflicts = 10

/** `documents` must tell what is away from what is absent. */
export function createUseSnapshots({
  documents,
  totals,
}: {
  documents: Pick<DocumentStore, 'get' | 'put'>
  totals: UseTotals
}): UseSnapshots {
  async function writeOne(place: Place, keys: readonly UseKey[]): Promise<void> {
    const name = usesDocumentKey(place)
    const known = await totals.read(keys)
    if (known.length === 0) return
    for (let attempt = 0; attempt < maxConflicts; attempt++) {
      const stored = await documents.get(name)
      const before = (stored && parseUsesDocument(place, stored.body)) ?? []
      const condition = stored ? { ifMatch: stored.etag } : ({ ifAbsent: true } as const)
      const merged = mergeUses(before, known)
      if (await documents.put(name, formatUsesDocument(merged), condition)) {
        return raise(known, before)
      }
    }
    throw new StoreUnavailableError('others have written the snapshot all the time')
  }

  /** Where the snapshot knew more, the index had lost it. */
  async function raise(known: readonly Use[], before: readonly Use[]): Promise<void> {
    const counted = new Map(known.map((use) => [nameOf(use), use.downloads]))
    const more = before.filter(
      (use) => use.downloads > (counted.get(nameOf(use)) ?? Number.POSITIVE_INFINITY),
    )
    if (more.length > 0) await totals.raise(more)
  }

  return {
    async write(keys) {
      const left: UseKey[] = []
      const places = byPlace(keys).values()
      async function work(): Promise<void> {
        for (const { place, used } of places) {
          try {
            await writeOne(place, used)
          } catch (error) {
            if (!(error instanceof StoreUnavailableError)) throw error
            left.push(...used)
          }
        }
      }
      await Promise.all(Array.from({ length: atOnce }, work))
      return left
    },
  }
}

/** Gives an index the uses of one such document, and tells how many; undefined when it is none. */
export async function restoreUses(
  documents: Pick<DocumentStore, 'get'>,
  totals: UseTotals,
  key: string,
): Promise<number | undefined> {
  const place = parseUsesDocumentKey(key)
  const body = place && (await documents.get(key))?.body
  const uses = body === undefined ? undefined : parseUsesDocument(place!, body)
  if (uses) await totals.raise(uses)
  return uses?.length
}

function mergeUses(before: readonly Use[], known: readonly Use[]): Use[] {
  const merged = new Map(before.map((use) => [nameOf(use), use]))
  for (const use of known) {
    const { usedAt = 0, downloads = 0 } = merged.get(nameOf(use)) ?? {}
    merged.set(nameOf(use), {
      ...use,
      usedAt: Math.max(usedAt, use.usedAt),
      downloads: Math.max(downloads, use.downloads),
    })
  }
  const latest = [...merged.values()].sort((a, b) => b.usedAt - a.usedAt)
  const kinds = Object.values(Object.groupBy(latest, ({ link }) => link?.kind ?? 'tag'))
  return kinds.flatMap((uses) => uses!.slice(0, maxUses))
}

function nameOf({ tag, link }: UseKey): string {
  return tag ? tagDocumentKey(tag) : linkDocumentKey(link)
}

function byPlace(keys: readonly UseKey[]): Map<string, { place: Place; used: UseKey[] }> {
  const places = new Map<string, { place: Place; used: UseKey[] }>()
  for (const key of keys) {
    const { upstreamId, repository } = key.tag ?? key.link
    const name = usesDocumentKey({ upstreamId, repository })
    const found = places.get(name) ?? { place: { upstreamId, repository }, used: [] }
    found.used.push(key)
    places.set(name, found)
  }
  return places
}
