import { z } from 'zod'
import { type Digest, isDigest } from '../oci/digest.ts'
import type { LinkEntry, Mention, TagEntry } from './index-store.ts'

/** The shape of the two documents. What does not parse is treated as absent, and `scrub` reports it. */
const DigestText = z.custom<Digest>((value) => isDigest(value))

const TagDocument = z.object({
  digest: DigestText,
  mediaType: z.string(),
  size: z.number().int().min(0),
  writtenAt: z.number(),
  walks: z.array(z.object({ registry: z.string(), ns: z.string() })),
})

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

/** `checkedAt` is the index's to know: an entry read from a document is stale. */
export function parseTagDocument(body: string): TagEntry | undefined {
  const parsed = TagDocument.safeParse(parseJson(body))
  return parsed.success ? { ...parsed.data, checkedAt: 0 } : undefined
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

export function formatLinkDocument({ mediaType, size, origin, children, subject }: LinkEntry): string {
  return JSON.stringify({ mediaType, size, origin, children, subject })
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}
