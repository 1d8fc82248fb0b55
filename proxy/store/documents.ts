import { z } from 'zod'
import { type Digest, isDigest } from '../oci/digest.ts'
import type { LinkEntry, LinkKind, Mention, PendingTag, TagEntry, TagKey, Use } from './index-store.ts'

/** The shape of the two documents. What does not parse is treated as absent, and `scrub` reports it. */
const DigestText = z.custom<Digest>((value) => isDigest(value))

const TagDocument = z.object({
  digest: DigestText,
  mediaType: z.string(),
  size: z.number().int().min(0),
  writtenAt: z.number(),
  walks: z.array(z.object({ registry: z.string(), ns: z.string() })),
})

const PendingText = TagDocument.extend({ askedAt: z.number().optional() })

const MentionText = z.object({
  digest: DigestText,
  kind: z.enum(['manifest', 'blob']),
  mediaType: z.string(),
  size: z.number().int().min(0),
})

const LinkDocument = z.object({
  mediaType: z.string(),
  size: z.number().int().min(0),
  origin: z.string(),
  children: z.array(MentionText),
  subject: DigestText.optional(),
})

/** A tag, or a digest, with its last use and its downloads. */
const UseText = z.tuple([z.string(), z.number().min(0), z.number().int().min(0)])

const UsesDocument = z.object({
  tags: z.array(UseText),
  manifests: z.array(UseText),
  blobs: z.array(UseText),
})

/** `checkedAt` is the index's to know: an entry read from a document is stale. */
export function parseTagDocument(body: string): TagEntry | undefined {
  const parsed = TagDocument.safeParse(parseJson(body))
  return parsed.success ? { ...parsed.data, checkedAt: 0 } : undefined
}

/** What is pending, as an index may keep it. */
export function parsePending(text: string): PendingTag | undefined {
  const parsed = PendingText.safeParse(parseJson(text))
  if (!parsed.success) return undefined
  const { writtenAt: checkedAt, ...pending } = parsed.data
  return { ...pending, checkedAt }
}

export function parseLinkDocument(body: string): LinkEntry | undefined {
  return LinkDocument.safeParse(parseJson(body)).data
}

/** One of a link's children by itself, as an index may keep it. */
export function parseMention(text: string): Mention | undefined {
  return MentionText.safeParse(parseJson(text)).data
}

export function formatTagDocument({ digest, mediaType, size, writtenAt, walks }: TagEntry): string {
  return JSON.stringify({ digest, mediaType, size, writtenAt, walks })
}

/** As the tag's document would be, written when the upstream said so. */
export function formatPending({ digest, mediaType, size, askedAt, checkedAt, walks }: PendingTag): string {
  return JSON.stringify({ digest, mediaType, size, writtenAt: checkedAt, askedAt, walks })
}

export function formatLinkDocument({ mediaType, size, origin, children, subject }: LinkEntry): string {
  return JSON.stringify({ mediaType, size, origin, children, subject })
}

/** The uses of one upstream's repository. */
export function parseUsesDocument(
  place: Pick<TagKey, 'upstreamId' | 'repository'>,
  body: string,
): Use[] | undefined {
  const parsed = UsesDocument.safeParse(parseJson(body)).data
  if (!parsed) return undefined
  const linked = (kind: LinkKind, uses: readonly z.infer<typeof UseText>[]) =>
    uses.flatMap(([digest, usedAt, downloads]): Use[] =>
      isDigest(digest) ? [{ link: { ...place, kind, digest }, usedAt, downloads }] : [],
    )
  return [
    ...parsed.tags.map(([tag, usedAt, downloads]): Use => ({ tag: { ...place, tag }, usedAt, downloads })),
    ...linked('manifest', parsed.manifests),
    ...linked('blob', parsed.blobs),
  ]
}

export function formatUsesDocument(uses: readonly Use[]): string {
  const linked = (kind: LinkKind) =>
    uses.flatMap(({ link, usedAt, downloads }) =>
      link?.kind === kind ? [[link.digest, usedAt, downloads]] : [],
    )
  return JSON.stringify({
    tags: uses.flatMap(({ tag, usedAt, downloads }) => (tag ? [[tag.tag, usedAt, downloads]] : [])),
    manifests: linked('manifest'),
    blobs: linked('blob'),
  })
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
