import { setTimeout as sleep } from 'node:timers/promises'
import { algorithmOf, type Digest, hexOf, isDigest } from '../oci/digest.ts'
import type { BlobStat, BlobStore, BlobWriter } from './blob-store.ts'
import { StoreUnavailableError } from './breaker.ts'
import type { DocumentStore } from './document-store.ts'

/**
 * What stands between a blob that nothing links and its deletion, where all replicas see it. `marked` becomes `kept` by
 * whoever is about to link the blob, or `condemned` by the one that deletes it, never both: each is a compare and swap.
 */
export interface Mark {
  readonly state: 'marked' | 'kept' | 'condemned'
  /** When it became that. */
  readonly at: number
  readonly etag: string
}

export interface DeletionMarks {
  /**
   * To be called before bytes are put, or seen to be there, that are linked then: from now on, and for the time of grace,
   * they are not deleted. Waits for a deletion under way, and for a store that went away some seconds ago at most; throws
   * StoreUnavailableError where it takes longer.
   */
  lift(digest: Digest): Promise<void>
  read(digest: Digest): Promise<Mark | undefined>
  /** In place of `before`. False where it was not that any more. */
  write(digest: Digest, state: Mark['state'], before: Mark | undefined): Promise<boolean>
  remove(digest: Digest): Promise<void>
  list(): AsyncIterable<Digest>
}

const states: readonly unknown[] = ['marked', 'kept', 'condemned'] satisfies Mark['state'][]

/** For a deletion under way, and for a store that is away: not for each blob anew, of which many may wait in a row. */
const waitMs = 5_000
const lookEachMs = 100
const lastAgainMs = 1_000
/** Nobody deletes any more what was condemned so long ago, by the clocks of any two replicas. */
const forsakenMs = 300_000

/** `documents` are of their own, apart from the cache's, and tell what is away from what is absent. */
export function createDeletionMarks({
  documents,
  now,
}: {
  documents: DocumentStore
  /** Milliseconds since the epoch. */
  now: () => number
}): DeletionMarks {
  let lastFailure = Number.NEGATIVE_INFINITY
  let awaySince = lastFailure

  /** For this failure too; one of long ago, or before an answer, was of another time. */
  function isLongAway(): boolean {
    const at = performance.now()
    if (at - lastFailure > waitMs) awaySince = at
    lastFailure = at
    return at - awaySince >= waitMs
  }

  async function isLifted(digest: Digest): Promise<boolean> {
    const mark = await marks.read(digest)
    lastFailure = Number.NEGATIVE_INFINITY
    if (!mark || mark.state === 'kept') return true
    if (mark.state === 'condemned' && now() - mark.at < forsakenMs) return false
    return marks.write(digest, 'kept', mark)
  }

  const marks: DeletionMarks = {
    async lift(digest) {
      const until = performance.now() + waitMs
      for (let againMs = lookEachMs; ; ) {
        const isLast = performance.now() >= until
        const lifted = await isLifted(digest).catch((error: unknown) => {
          if (!(error instanceof StoreUnavailableError) || isLongAway() || isLast) throw error
          againMs = Math.min(lastAgainMs, againMs * 2)
          return false
        })
        if (lifted) return
        if (isLast) throw new StoreUnavailableError('the blob is being deleted')
        await sleep(againMs)
      }
    },

    async read(digest) {
      const document = await documents.get(keyOf(digest))
      if (!document) return undefined
      const { etag, body } = document
      // what does not parse is as good as a mark that was made now
      return { ...(parse(body) ?? { state: 'kept', at: now() }), etag }
    },

    write(digest, state, before) {
      const condition = before ? { ifMatch: before.etag } : ({ ifAbsent: true } as const)
      return documents.put(keyOf(digest), JSON.stringify({ state, at: now() }), condition)
    },

    remove: (digest) => documents.delete(keyOf(digest)),

    async *list() {
      for await (const key of documents.list('')) {
        const digest = key.replace('/', ':')
        if (isDigest(digest)) yield digest
      }
    },
  }
  return marks
}

/**
 * The same blobs, of which none is committed, and none retained, before its mark is lifted. A commit that takes long, as of
 * an upload that begins anew, ends with a look of its own: a time of grace begins then.
 */
export function withMarksLifted<S extends BlobStore>(
  blobs: S,
  marks: Pick<DeletionMarks, 'lift'>,
  { longMs = 60_000 }: { longMs?: number } = {},
): S {
  async function retain(digest: Digest): Promise<BlobStat | undefined> {
    await marks.lift(digest)
    return blobs.stat(digest)
  }

  async function commit(writer: BlobWriter, digest: Digest): Promise<void> {
    await marks.lift(digest)
    const begun = performance.now()
    await writer.commit()
    if (performance.now() - begun >= longMs && !(await retain(digest)))
      throw new StoreUnavailableError('the blob was deleted while it was being stored')
  }

  return {
    ...blobs,
    retain,
    async create(digest, size, other) {
      const writer = await blobs.create(digest, size, other)
      return writer && { ...writer, commit: () => commit(writer, digest) }
    },
  }
}

function keyOf(digest: Digest): string {
  return `${algorithmOf(digest)}/${hexOf(digest)}`
}

function parse(body: string): Pick<Mark, 'state' | 'at'> | undefined {
  try {
    const { state, at } = JSON.parse(body) as Record<string, unknown>
    return states.includes(state) && typeof at === 'number'
      ? { state: state as Mark['state'], at }
      : undefined
  } catch {
    return undefined
  }
}
