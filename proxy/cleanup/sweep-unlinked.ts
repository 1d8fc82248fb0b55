import type { Digest } from '../oci/digest.ts'
import type { DeleteFailure } from '../store/blob-store.ts'
import type { Mark } from '../store/deletion-marks.ts'
import { parseTagDocument } from '../store/documents.ts'
import { parseDocumentKey } from '../store/keys.ts'
import type { Sweepable } from '../store/sweepable.ts'

export interface UnlinkedParts extends Pick<Sweepable, 'blobs' | 'documents' | 'marks'> {
  readonly now: () => number
  readonly monotonicNow: () => number
  /** How long a blob stays after it was marked: far longer than a link takes to be written once its blob is there. */
  readonly graceMs: number
  /** Blobs compared with the documents at a time; each takes about 300 bytes of memory. */
  readonly pageSize?: number
  /** Unlinked blobs of one sweep; what is beyond comes next time. */
  readonly maxUnlinked?: number
}

export interface SweptBlobs {
  readonly marked: number
  readonly deleted: number
  readonly deletedBytes: number
  readonly failures: readonly DeleteFailure[]
}

interface Unlinked {
  readonly digest: Digest
  readonly size: number
  readonly etag: string
}

const noSwaps =
  'the S3 server does not keep to If-None-Match and If-Match of PutObject: no unlinked blob is deleted, since one that is being linked could be'
const batchSize = 50
const documentsAtOnce = 32
/** From when it was condemned on: what comes later is left to the next sweep, for another may have taken it up. */
const deleteWithinMs = 10_000
/** A sweep that condemned a blob so long ago has died over it. */
const abandonedMs = 60_000

/**
 * Marks what no document links, and deletes what was marked for the time of grace and still is not linked. Who links is
 * read from the documents each time, never from the index. See docs/decisions on deleting.
 */
export async function sweepUnlinked(parts: UnlinkedParts): Promise<SweptBlobs> {
  const { blobs, documents, marks, now, monotonicNow, graceMs } = parts
  const { pageSize = 50_000, maxUnlinked = 50_000 } = parts
  const seen = new Set<Digest>()
  const failures: DeleteFailure[] = []
  let checked: Promise<void> | undefined
  let marked = 0
  let deleted = 0
  let deletedBytes = 0

  async function sweepPage(page: Map<Digest, Unlinked>): Promise<void> {
    const scannedFrom = now()
    await strikeLinked(page, documents)
    const unlinked = [...page.values()].slice(0, maxUnlinked - seen.size)
    for (const { digest } of unlinked) seen.add(digest)
    for (let at = 0; at < unlinked.length; at += batchSize)
      await handle(unlinked.slice(at, at + batchSize), scannedFrom)
  }

  async function handle(batch: readonly Unlinked[], scannedFrom: number): Promise<void> {
    const begun = monotonicNow()
    const looked = await Promise.all(batch.map((one) => condemnOrMark(one, scannedFrom)))
    const doomed = looked.filter((one) => one !== undefined)
    if (doomed.length === 0) return
    if (monotonicNow() - begun > deleteWithinMs) return putBack(doomed, begun)
    const failed = new Map((await blobs.deleteMany(doomed)).map((failure) => [failure.digest, failure]))
    failures.push(...failed.values())
    await Promise.all(doomed.map((one) => settle(one, failed.has(one.digest))))
  }

  /** Only what was marked a time of grace before its links were looked for: a link that was on its way is there by then. */
  async function condemnOrMark(one: Unlinked, scannedFrom: number): Promise<Unlinked | undefined> {
    const mark = await marks.read(one.digest)
    if (!mark || mark.state === 'kept') {
      if (await marks.write(one.digest, 'marked', mark)) marked += 1
      return undefined
    }
    const waitMs = mark.state === 'marked' ? graceMs : abandonedMs
    if (scannedFrom - mark.at < waitMs) return undefined
    checked ??= checkSwaps(one.digest, mark)
    await checked
    return (await marks.write(one.digest, 'condemned', mark)) ? one : undefined
  }

  /** Where both swaps of a mark are taken, what was just linked would be deleted. */
  async function checkSwaps(digest: Digest, mark: Mark): Promise<void> {
    const putAnyway = (before: Mark | undefined) => marks.write(digest, 'marked', before)
    // the first of two may have been taken since another sweep was done with it
    const ignoresAbsent = (await putAnyway(undefined)) && (await putAnyway(undefined))
    if (ignoresAbsent || (await putAnyway({ ...mark, etag: '"of-another"' }))) throw new Error(noSwaps)
  }

  /** Nobody has been asked to delete them: whoever wants to link them need not wait. */
  async function putBack(condemned: readonly Unlinked[], begun: number): Promise<void> {
    await Promise.all(
      condemned.map(async ({ digest }) => {
        const mark = await marks.read(digest)
        // by then another sweep may have condemned it anew
        if (mark?.state !== 'condemned' || monotonicNow() - begun >= abandonedMs) return
        await marks.write(digest, 'marked', mark)
      }),
    )
  }

  /** Where it was refused it is there still, and to be linked again; the mark goes either way. */
  async function settle({ digest, size }: Unlinked, hasFailed: boolean): Promise<void> {
    await marks.remove(digest)
    if (hasFailed) return
    deleted += 1
    deletedBytes += size
  }

  /** Of blobs that are linked again, or gone. */
  async function dropMarks(): Promise<void> {
    for await (const digest of marks.list()) {
      if (seen.has(digest)) continue
      const mark = await marks.read(digest)
      if (mark?.state !== 'condemned' || now() - mark.at >= abandonedMs) await marks.remove(digest)
    }
  }

  let page = new Map<Digest, Unlinked>()
  for await (const { digest, size, etag } of blobs.list()) {
    page.set(digest, { digest, size, etag })
    if (page.size < pageSize) continue
    await sweepPage(page)
    page = new Map()
    if (seen.size >= maxUnlinked) break
  }
  await sweepPage(page)
  if (seen.size < maxUnlinked) await dropMarks()
  return { marked, deleted, deletedBytes, failures }
}

/** A link has its digest in its key. A list of referrers has no link: its bytes are those its tag document names. */
async function strikeLinked(page: Map<Digest, unknown>, documents: Sweepable['documents']): Promise<void> {
  const lists: string[] = []
  async function strikeLists(): Promise<void> {
    const bodies = await Promise.all(lists.splice(0).map((key) => documents.get(key)))
    for (const body of bodies) {
      const entry = body && parseTagDocument(body.body)
      if (entry) page.delete(entry.digest)
    }
  }

  if (page.size === 0) return
  for await (const key of documents.list('upstreams/')) {
    const { link, tag } = parseDocumentKey(key) ?? {}
    if (link) page.delete(link.digest)
    else if (tag?.tag.startsWith('referrers/') && lists.push(key) >= documentsAtOnce) await strikeLists()
    if (page.size === 0) return
  }
  await strikeLists()
}
