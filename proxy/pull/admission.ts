import type { FoundPending, LinkEntry, TagEntry, TagKey, Walk } from '../store/index-store.ts'
import type { Catalog, TagRecord } from './catalog.ts'
import type { Commits } from './commits.ts'
import type { Content } from './content.ts'
import type { FetchedManifest, Place } from './questions.ts'

/** When an upstream was asked about a tag, and since when the tag was then known to be what it was. */
export interface Asked {
  readonly at: number
  readonly writtenAt: number | undefined
}

/** Takes verified manifests into the cache, and moves tags: in memory at once, durable soon after. */
export interface Admission {
  /** To be had before an upstream is asked about the tag: of two answers the one that was asked for later counts. */
  asking(key: TagKey): Asked
  /** Somebody who asked later knows already what the tag is. */
  isOutrun(key: TagKey, asked: Asked): boolean
  /** Bytes, link, every tag that was pending on this digest here, and `tag` when it was what was asked for. */
  manifest(
    place: Place,
    fetched: FetchedManifest,
    tag?: { readonly key: TagKey; readonly walks: readonly Walk[]; readonly asked: Asked },
  ): void
  /**
   * The tag is this digest now, whose manifest is linked here already, unless it is outrun. Keeps the walks that ended at the
   * tag before.
   */
  tag(
    key: TagKey,
    manifest: Pick<TagEntry, 'digest' | 'mediaType' | 'size'>,
    walks: readonly Walk[],
    asked?: Asked,
  ): void
  /** A registry's own walk ended at this tag. */
  walk(key: TagKey, record: TagRecord, walk: Walk): TagRecord
}

const maxWalks = 256

/** `now` is milliseconds since the epoch. */
export function createAdmission({
  catalog,
  content,
  commits,
  now,
}: {
  catalog: Catalog
  content: Content
  commits: Commits
  now: () => number
}): Admission {
  const asking: Admission['asking'] = (key) => ({
    at: now(),
    writtenAt: catalog.rememberedTag(key)?.entry.writtenAt,
  })

  /** Only what was written meanwhile: a clock that went back outruns nobody. */
  const isOutrun: Admission['isOutrun'] = (key, asked) => {
    const writtenAt = catalog.rememberedTag(key)?.entry.writtenAt
    return writtenAt !== undefined && writtenAt !== asked.writtenAt && writtenAt > asked.at
  }

  function remember(
    key: TagKey,
    manifest: Pick<TagEntry, 'digest' | 'mediaType' | 'size'>,
    walks: readonly Walk[],
    askedAt: number,
    checkedAt = askedAt,
  ): TagRecord {
    const { digest, mediaType, size } = manifest
    const before = catalog.rememberedTag(key)?.entry
    const writtenAt = Math.max(askedAt, (before?.writtenAt ?? 0) + 1) // a clock that went back makes no write the older one
    const merged = mergeWalks([...(before?.walks ?? []), ...(catalog.pending(key)?.walks ?? []), ...walks])
    return catalog.rememberTag(key, {
      digest,
      mediaType,
      size,
      walks: merged,
      writtenAt,
      checkedAt,
    })
  }

  /**
   * The tag, where a HEAD to another replica found the digest that is linked here now, and nobody has found another since.
   * Memory may hold it from a time before, which S3 did not take: whether it is stored is for `saveTag` to see.
   */
  async function pendingTag({ key, pending }: FoundPending): Promise<TagRecord | undefined> {
    const known = await catalog.tag(key)
    if (known?.entry.digest === pending.digest) {
      const { walks } = known.entry
      return pending.walks.every((walk) => hasWalk(walks, walk))
        ? known
        : catalog.rememberWalks(known, mergeWalks([...walks, ...pending.walks]))
    }
    const { checkedAt, askedAt = checkedAt, walks } = pending
    if (known && (known.entry.writtenAt >= askedAt || known.entry.checkedAt >= checkedAt)) return undefined
    return remember(key, pending, walks, askedAt, checkedAt)
  }

  return {
    asking,
    isOutrun,

    manifest(place, fetched, tag) {
      const { digest, mediaType, bytes, children, subject } = fetched
      const { upstream, repository } = place
      const link: LinkEntry = { mediaType, size: bytes.length, origin: upstream.origin, children, subject }
      const linkKey = { upstreamId: upstream.id, repository, kind: 'manifest', digest } as const
      content.keep(digest, bytes)
      catalog.rememberLink(linkKey, link)

      const manifest = { digest, mediaType, size: bytes.length }
      const tags = catalog.tagsPendingOn(linkKey, digest).map((key) => {
        const { checkedAt = now(), askedAt = checkedAt } = catalog.pending(key) ?? {}
        return remember(key, manifest, [], askedAt, checkedAt)
      })
      if (tag && !isOutrun(tag.key, tag.asked))
        tags.push(remember(tag.key, manifest, tag.walks, tag.asked.at, now()))

      commits.add('manifest', placeKey(linkKey), async () => {
        await content.store(digest, bytes)
        await catalog.saveLink(linkKey, link)
        for (const record of tags) await catalog.saveTag(record)
        for (const found of await catalog.pendingEverywhere(linkKey, digest)) {
          const record = await pendingTag(found)
          if (record && !tags.includes(record)) await catalog.saveTag(record)
        }
      })
    },

    tag(key, manifest, walks, asked = asking(key)) {
      if (isOutrun(key, asked)) return
      const record = remember(key, manifest, walks, asked.at, now())
      commits.add('tag', placeKey(key), () => catalog.saveTag(record))
    },

    walk(key, record, walk) {
      const { walks } = record.entry
      if (hasWalk(walks, walk)) return record
      const extended = catalog.rememberWalks(record, mergeWalks([...walks, walk]))
      commits.add('tag', placeKey(key), () => catalog.saveTag(extended))
      return extended
    },
  }
}

/** One without an `ns` asked all upstreams that the same one with an `ns` would have, in the same order. */
export function hasWalk(walks: readonly Walk[], { registry, ns }: Walk): boolean {
  return walks.some((walk) => walk.registry === registry && (walk.ns === ns || walk.ns === ''))
}

/** Each once; of too many the oldest go: their registry then walks again. */
export function mergeWalks(walks: readonly Walk[]): Walk[] {
  return [...new Map(walks.map((walk) => [JSON.stringify([walk.registry, walk.ns]), walk])).values()].slice(
    -maxWalks,
  )
}

/** What is made durable in order. */
export function placeKey({ upstreamId, repository }: Pick<TagKey, 'upstreamId' | 'repository'>): string {
  return `${upstreamId} ${repository}`
}
