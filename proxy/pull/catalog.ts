import { LRUCache } from 'lru-cache'
import type { Observer } from '../observer.ts'
import type { Digest } from '../oci/digest.ts'
import type { DocumentStore, StoredDocument } from '../store/document-store.ts'
import {
  formatLinkDocument,
  formatTagDocument,
  parseLinkDocument,
  parseTagDocument,
} from '../store/documents.ts'
import type {
  FoundPending,
  IndexStore,
  LinkEntry,
  LinkKey,
  Mention,
  PendingTag,
  TagEntry,
  TagKey,
  UseKey,
  Walk,
} from '../store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../store/keys.ts'
import { createPendingTags, type PendingPlace } from './pending-tags.ts'
import { createRemembered, type Epoch } from './remembered.ts'

/** What is known of cached references: memory, then the index, then the documents, which are the truth. */
export interface Catalog {
  /** Undefined when absent. */
  tag(key: TagKey): Promise<TagRecord | undefined>
  link(key: LinkKey): Promise<LinkFacts | undefined>
  /** What memory holds, without looking further. */
  rememberedTag(key: TagKey): TagRecord | undefined
  /**
   * In memory, seen by the next `tag` at once; the record it replaces stops being `live`, and nothing is pending any more.
   * `saveTag` makes it durable.
   */
  rememberTag(key: TagKey, entry: TagEntry): TagRecord
  /** The same with other walks; what is pending stays. */
  rememberWalks(record: TagRecord, walks: readonly Walk[]): TagRecord
  /** Writes it, or what memory holds of the tag by now, so that of two the newer wins whichever is written last. */
  saveTag(record: TagRecord): Promise<void>
  /** With what other replicas have found since, as the index has it. */
  reread(record: TagRecord): Promise<TagRecord>
  /** The tag was found unchanged. Nothing when another record has replaced this one meanwhile. */
  touchTag(record: TagRecord, checkedAt: number): Promise<void>
  /** In memory, seen by the next `link` at once. `saveLink` makes it durable. */
  rememberLink(key: LinkKey, entry: LinkEntry): void
  saveLink(key: LinkKey, entry: LinkEntry): Promise<void>
  /** Takes the tag or the link away, here and at other replicas. The document goes first: without it nothing comes back. */
  remove(key: UseKey): Promise<void>
  /** The size of bytes this origin is known to have sent for the digest. */
  possession(origin: string, digest: Digest): Promise<number | undefined>
  mention(upstreamId: string, repository: string, digest: Digest): Promise<Mention | undefined>

  /** What a HEAD to this replica learned of a tag whose manifest has not been fetched. */
  pending(key: TagKey): PendingTag | undefined
  /** In memory at once; resolves when other replicas can find it, or never will. */
  setPending(key: TagKey, pending: PendingTag): Promise<void>
  /** Tags of this repository for which the digest is pending at this replica. */
  tagsPendingOn(place: PendingPlace, digest: Digest): readonly TagKey[]
  /** The same at all replicas. */
  pendingEverywhere(place: PendingPlace, digest: Digest): Promise<readonly FoundPending[]>
}

/** What a pull needs of a link: an index may list thousands of children, and memory holds none of them. */
export type LinkFacts = Pick<LinkEntry, 'mediaType' | 'size'>

/** One state of a tag. `live` is true until another replaces it, may have elsewhere, or memory lets go of it. */
export interface TagRecord {
  readonly key: TagKey
  readonly entry: TagEntry
  readonly live: boolean
}

/** Each takes about half a kilobyte of memory. */
const maxTags = 20_000
const maxLinks = 30_000
const maxMentions = 20_000
/** So many times another replica may write a tag while we do. */
const maxConflicts = 10

export function createCatalog({
  documents,
  index,
  observer,
}: {
  documents: DocumentStore
  index: IndexStore
  observer: Observer
}): Catalog {
  const { changes } = index
  const tags = createRemembered<TagRecord>({ max: maxTags, changes })
  const links = createRemembered<LinkFacts>({ max: maxLinks, changes })
  /** Of links that may not be in the index yet. */
  const mentions = new LRUCache<string, Mention>({ max: maxMentions })
  const pendings = createPendingTags({
    shared: index.pending,
    onFailure: (operation, error) => observer.storeFailure(operation, error),
  })

  /** The index is a shortcut: a failure of it is told and treated as not knowing. */
  async function ask<T>(operation: string, question: Promise<T | undefined>): Promise<T | undefined> {
    try {
      return await question
    } catch (error) {
      observer.storeFailure(operation, error)
      return undefined
    }
  }

  async function tell(operation: string, statement: Promise<void>): Promise<void> {
    await ask(operation, statement)
  }

  changes?.listen((name) => {
    tags.outdate(name)
    links.outdate(name)
    pendings.delete(name)
  })

  function setTag(key: TagKey, entry: TagEntry, ...epoch: [Epoch] | []): TagRecord {
    const name = tagDocumentKey(key)
    const record: TagRecord = {
      key,
      entry,
      get live() {
        return isGood()
      },
    }
    const isGood = tags.set(name, record, ...epoch)
    return record
  }

  /** Gives what is stored then: another replica may have written the tag later, or walks to it. */
  async function putNewest(name: string, entry: TagEntry): Promise<TagEntry> {
    for (let attempt = 0; attempt < maxConflicts; attempt++) {
      const newest = await putOver(await documents.get(name), name, entry)
      if (newest) return newest
    }
    throw new Error('others have written the tag all the time')
  }

  /** Undefined when another has written since. */
  async function putOver(
    stored: StoredDocument | undefined,
    name: string,
    entry: TagEntry,
  ): Promise<TagEntry | undefined> {
    const known = stored && parseTagDocument(stored.body)
    const newest = known ? newerOf(entry, known) : entry
    if (known && isWritten(newest, known)) return newest
    const condition = stored ? { ifMatch: stored.etag } : ({ ifAbsent: true } as const)
    return (await documents.put(name, formatTagDocument(newest), condition)) ? newest : undefined
  }

  async function readTag(key: TagKey): Promise<TagEntry | undefined> {
    const known = await ask('index.getTag', index.getTag(key))
    if (known) return known
    const document = await documents.get(tagDocumentKey(key))
    const entry = document && parseTagDocument(document.body)
    if (entry) await tell('index.putTag', index.putTag(key, entry))
    return entry
  }

  async function readLink(key: LinkKey): Promise<LinkEntry | undefined> {
    const known = await ask('index.getLink', index.getLink(key))
    if (known) return known
    const document = await documents.get(linkDocumentKey(key))
    const entry = document && parseLinkDocument(document.body)
    if (entry) await tell('index.putLink', index.putLink(key, entry))
    return entry
  }

  return {
    async tag(key) {
      const name = tagDocumentKey(key)
      const good = tags.good(name)
      if (good) return good
      const { value: entry, epoch } = await tags.readingOnce(name, () => readTag(key))
      const held = tags.peek(name)
      if (held && (held.live || (!entry && epoch === undefined))) return held
      if (!entry) return undefined
      return setTag(key, held ? newerOf(held.entry, entry) : entry, epoch)
    },

    async link(key) {
      const name = linkDocumentKey(key)
      const good = links.good(name)
      if (good) return good
      const { value: entry, epoch } = await links.readingOnce(name, () => readLink(key))
      const meanwhile = links.good(name)
      if (meanwhile) return meanwhile
      // without news and without documents: what was right when we last heard is served on
      if (!entry) return epoch === undefined && links.isBlind() ? links.peek(name) : undefined
      const facts = factsOf(entry)
      links.set(name, facts, epoch)
      return facts
    },

    rememberedTag: (key) => tags.peek(tagDocumentKey(key)),

    rememberTag(key, entry) {
      pendings.delete(tagDocumentKey(key))
      return setTag(key, entry)
    },

    rememberWalks: ({ key, entry }, walks) => setTag(key, { ...entry, walks }),

    async saveTag({ key, entry: given }) {
      const name = tagDocumentKey(key)
      const held = tags.peek(name)?.entry
      const entry = held ? newerOf(held, given) : given
      if (!changes) {
        await documents.put(name, formatTagDocument(entry))
        return tell('index.putTag', index.putTag(key, entry))
      }
      const newest = await putNewest(name, entry)
      if (newest !== entry) tags.outdate(name)
      await tell('index.putTag', index.putTag(key, newest))
      changes.announce(name)
    },

    async reread(record) {
      if (!changes) return record
      const { key } = record
      const name = tagDocumentKey(key)
      const { value: known, epoch } = await tags.reading(name, () => ask('index.getTag', index.getTag(key)))
      const newest = known ? newerOf(record.entry, known) : record.entry
      if (newest === record.entry || tags.peek(name) !== record) return tags.peek(name) ?? record
      if ((pendings.get(key)?.checkedAt ?? 0) < newest.checkedAt) pendings.delete(name)
      return setTag(key, newest, epoch)
    },

    async touchTag(record, checkedAt) {
      const { key } = record
      const name = tagDocumentKey(key)
      if (tags.peek(name) !== record) return
      setTag(key, { ...record.entry, checkedAt })
      pendings.delete(name)
      await tell('index.touchTag', index.touchTag(key, record.entry.digest, checkedAt))
      changes?.announce(name) // what is pending elsewhere from before counts no more
    },

    rememberLink(key, entry) {
      links.set(linkDocumentKey(key), factsOf(entry))
      for (const child of entry.children)
        mentions.set(placeOf(key.upstreamId, key.repository, child.digest), child)
    },

    async saveLink(key, entry) {
      await documents.put(linkDocumentKey(key), formatLinkDocument(entry))
      await tell('index.putLink', index.putLink(key, entry))
    },

    async remove({ tag, link }) {
      const name = tag ? tagDocumentKey(tag) : linkDocumentKey(link)
      await documents.delete(name)
      await tell('index.delete', tag ? index.deleteTag(tag) : index.deleteLink(link))
      tags.forget(name)
      links.forget(name)
      pendings.delete(name)
      changes?.announce(name)
    },

    possession: (origin, digest) => ask('index.getPossession', index.getPossession(origin, digest)),
    mention: async (upstreamId, repository, digest) =>
      mentions.get(placeOf(upstreamId, repository, digest)) ??
      ask('index.getMention', index.getMention(upstreamId, repository, digest)),

    pending: pendings.get,
    setPending: pendings.set,
    tagsPendingOn: pendings.on,
    pendingEverywhere: pendings.everywhere,
  }
}

/** What we know of a tag, `ours`, and what is stored of it; the later writing counts, and of one writing all that is known. */
function newerOf(ours: TagEntry, stored: TagEntry): TagEntry {
  if (ours === stored) return ours
  if (ours.writtenAt !== stored.writtenAt) return ours.writtenAt > stored.writtenAt ? ours : stored
  if (ours.digest !== stored.digest) return stored
  const walks = [...stored.walks, ...ours.walks.filter((walk) => !isAmong(stored.walks, walk))]
  const checkedAt = Math.max(ours.checkedAt, stored.checkedAt)
  return walks.length === ours.walks.length && checkedAt === ours.checkedAt
    ? ours
    : { ...stored, walks, checkedAt }
}

/** What a document would say anew; when a tag was checked is the index's. */
function isWritten(newest: TagEntry, stored: TagEntry): boolean {
  return newest.writtenAt === stored.writtenAt && newest.walks.length === stored.walks.length
}

function isAmong(walks: readonly Walk[], { registry, ns }: Walk): boolean {
  return walks.some((walk) => walk.registry === registry && walk.ns === ns)
}

function placeOf(upstreamId: string, repository: string, digest: Digest): string {
  return `${upstreamId} ${repository} ${digest}`
}

function factsOf({ mediaType, size }: LinkEntry): LinkFacts {
  return { mediaType, size }
}
