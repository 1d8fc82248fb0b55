import { isDeepStrictEqual } from 'node:util'
import { type Digest, hasherFor, hexOf } from '../oci/digest.ts'
import type { BlobStore } from './blob-store.ts'
import type { DocumentStore } from './document-store.ts'
import { parseLinkDocument, parseTagDocument } from './documents.ts'
import type { IndexStore, LinkEntry, LinkKey, TagEntry, TagKey } from './index-store.ts'
import { linkDocumentKey, parseDocumentKey, tagDocumentKey } from './keys.ts'
import type { Leftover } from './stored-files.ts'

export interface ScrubbedStores {
  readonly blobs: BlobStore
  readonly documents: DocumentStore
  readonly index: IndexStore
  leftovers?(): AsyncIterable<Leftover>
}

export interface ScrubOptions {
  /** Also reads every blob and hashes it. */
  readonly hash: boolean
  /** A temporary file that was written to since may still be in use. */
  readonly leftoverAgeMs?: number
  readonly now?: number
}

export type FindingKind =
  | 'blob-spoiled'
  | 'blob-size'
  | 'document-unknown'
  | 'document-invalid'
  | 'tag-without-link'
  | 'index-without-document'
  | 'index-differs'
  | 'leftover'

export interface Finding {
  readonly kind: FindingKind
  /** A digest, the key of a document, or a path. */
  readonly subject: string
  readonly detail: string
}

export interface ScrubReport {
  readonly findings: readonly Finding[]
  /** Found beyond those that are listed. */
  readonly findingsLeftOut: number
  readonly counts: Readonly<Record<keyof typeof noCounts, number>>
}

/** `evicted`, `unindexed`, `behind` and `unfinished` are states that heal as pulls come: no findings. */
const noCounts = {
  blobs: 0,
  blobBytes: 0,
  tags: 0,
  links: 0,
  /** Links and lists of referrers whose bytes are not there. */
  evicted: 0,
  /** Documents the index was not told of before the process died: a pull that misses reads them. */
  unindexed: 0,
  /** Tags of which the index knows an earlier state, for the same reason. */
  behind: 0,
  /** Temporary files that are not old. */
  unfinished: 0,
}

const maxFindings = 1000

/**
 * Compares all that is stored with each other, changing nothing. Beside a process that writes, what looks wrong is looked
 * at twice before it counts.
 */
export async function scrub(
  { blobs, documents, index, leftovers }: ScrubbedStores,
  { hash, leftoverAgeMs = 3_600_000, now = Date.now() }: ScrubOptions,
): Promise<ScrubReport> {
  const findings: Finding[] = []
  const counts = { ...noCounts }
  let found = 0

  function report(kind: FindingKind, subject: string, detail: string): void {
    found += 1
    if (findings.length < maxFindings) findings.push({ kind, subject, detail })
  }

  async function checkBlobs(): Promise<void> {
    const buffer = Buffer.allocUnsafe(1024 * 1024)
    for await (const { digest, size } of blobs.list()) {
      counts.blobs += 1
      counts.blobBytes += size
      const problem = hash ? await problemOf(digest, buffer) : undefined
      if (problem !== undefined) report('blob-spoiled', digest, problem)
    }
  }

  async function problemOf(digest: Digest, buffer: Buffer): Promise<string | undefined> {
    const blob = await blobs.open(digest)
    if (!blob) return undefined
    try {
      const hasher = hasherFor(digest)
      for (let position = 0; position < blob.size; ) {
        const bytesRead = await blob.read(buffer, position)
        hasher.update(buffer.subarray(0, bytesRead))
        position += bytesRead
      }
      return hasher.digest('hex') === hexOf(digest) ? undefined : 'the bytes have another digest'
    } catch (error) {
      return `reading failed: ${(error as Error).message}`
    } finally {
      await blob.close()
    }
  }

  async function checkDocuments(): Promise<void> {
    for await (const key of documents.list('')) {
      const parsed = parseDocumentKey(key)
      if (!parsed) {
        report('document-unknown', key, 'no tag and no link is kept under this key')
        continue
      }
      const document = await documents.get(key)
      if (!document) continue
      const { tag, link } = parsed
      const valid = tag ? await checkTag(tag, key, document.body) : await checkLink(link, key, document.body)
      if (!valid) report('document-invalid', key, 'it does not parse')
    }
  }

  async function checkLink(link: LinkKey, key: string, body: string): Promise<boolean> {
    const entry = parseLinkDocument(body)
    if (!entry) return false
    counts.links += 1
    await checkSize(link.digest, entry.size, key)

    const known = await index.getLink(link)
    if (!known) counts.unindexed += 1
    else if (!sameLink(known, entry) || !(await isIndexed(link, entry))) await reportDifference(key, body)
    return true
  }

  /** What an entry of the index brings with it. */
  async function isIndexed({ upstreamId, repository, digest }: LinkKey, entry: LinkEntry): Promise<boolean> {
    if ((await index.getPossession(entry.origin, digest)) === undefined) return false
    for (const child of entry.children) {
      if (!(await index.getMention(upstreamId, repository, child.digest))) return false
    }
    return true
  }

  async function checkTag(tag: TagKey, key: string, body: string): Promise<boolean> {
    const entry = parseTagDocument(body)
    if (!entry) return false
    counts.tags += 1
    if (tag.tag.includes('/')) await checkSize(entry.digest, entry.size, key)
    else if (!(await isLinked(tag, entry.digest)))
      report('tag-without-link', key, `no link to ${entry.digest}`)

    const known = await index.getTag(tag)
    if (!known) counts.unindexed += 1
    else if (isBehind(known, entry)) counts.behind += 1
    else if (!sameTag(known, entry)) await reportDifference(key, body)
    return true
  }

  async function isLinked({ upstreamId, repository }: TagKey, digest: Digest): Promise<boolean> {
    const key = linkDocumentKey({ upstreamId, repository, kind: 'manifest', digest })
    return (await documents.get(key)) !== undefined
  }

  async function checkSize(digest: Digest, size: number, key: string): Promise<void> {
    const stat = await blobs.stat(digest)
    if (!stat) counts.evicted += 1
    else if (stat.size !== size)
      report('blob-size', key, `${digest} has ${stat.size} bytes instead of ${size}`)
  }

  /** Unless the document has been written anew meanwhile, with the entry of the index to follow. */
  async function reportDifference(key: string, body: string): Promise<void> {
    if ((await documents.get(key))?.body === body) report('index-differs', key, 'the index says otherwise')
  }

  async function checkIndex(): Promise<void> {
    for await (const upstreamId of index.listUpstreams()) {
      for await (const { key } of index.listTags(upstreamId)) {
        await checkBacked(tagDocumentKey(key), () => index.getTag(key))
      }
      for await (const { key } of index.listLinks(upstreamId)) {
        await checkBacked(linkDocumentKey(key), () => index.getLink(key))
      }
    }
  }

  async function checkBacked(key: string, stillThere: () => Promise<unknown>): Promise<void> {
    if (await documents.get(key)) return
    if (await stillThere()) report('index-without-document', key, 'nothing but the index knows of it')
  }

  async function checkLeftovers(): Promise<void> {
    for await (const { path, modifiedAt, size } of leftovers?.() ?? []) {
      if (now - modifiedAt >= leftoverAgeMs)
        report('leftover', path, `${size} bytes that nobody writes any more`)
      else counts.unfinished += 1
    }
  }

  await checkBlobs()
  await checkDocuments()
  await checkIndex()
  await checkLeftovers()
  return { findings, findingsLeftOut: found - findings.length, counts }
}

function sameLink(a: LinkEntry, b: LinkEntry): boolean {
  const shape = ({ mediaType, size, origin, children, subject }: LinkEntry) => [
    mediaType,
    size,
    origin,
    children,
    subject,
  ]
  return isDeepStrictEqual(shape(a), shape(b))
}

/** A walk that ended at a tag is added to it without a new time of writing. */
function isBehind(known: TagEntry, entry: TagEntry): boolean {
  if (known.writtenAt !== entry.writtenAt) return known.writtenAt < entry.writtenAt
  const { walks } = entry
  const missing = walks.length - known.walks.length
  return (
    missing > 0 &&
    sameTag({ ...known, walks }, entry) &&
    known.walks.every((walk) => walks.some((one) => isDeepStrictEqual(one, walk)))
  )
}

/** When it was checked is the index's alone to know. */
function sameTag(a: TagEntry, b: TagEntry): boolean {
  const shape = ({ digest, mediaType, size, writtenAt, walks }: TagEntry) => [
    digest,
    mediaType,
    size,
    writtenAt,
    walks,
  ]
  return isDeepStrictEqual(shape(a), shape(b))
}
