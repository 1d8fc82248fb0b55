import type { SQLOutputValue } from 'node:sqlite'
import type { Digest } from '../oci/digest.ts'
import { createDiskBudget, type DiskBudget } from './disk-budget.ts'
import type { IndexStore, LinkEntry, LinkKey, Listed, Mention, TagEntry, TagKey, Use } from './index-store.ts'
import { openSqliteFile, readPragma } from './sqlite-file.ts'
import { prepareStatements } from './sqlite-statements.ts'

export interface SqliteIndexStore extends IndexStore {
  /** False until `markComplete`: documents may be there that it has not been told of. */
  readonly complete: boolean
  markComplete(): void
  /** Where a file that was damaged or of another version has been put. */
  readonly setAside: string | undefined
}

/** Rows read at a time by the lists, so that no read stays open while the caller is at work. */
const pageRows = 500

/** The write-ahead log and room to grow, taken from the budget before they are used. */
const stepBytes = 1024 * 1024
const logBytes = 5 * stepBytes

type Row = Record<string, SQLOutputValue>

/** The index in one file of SQLite. Every call is done when it returns; a promise is only what the interface asks for. */
export function createSqliteIndexStore({
  file,
  budget = createDiskBudget({ maxBytes: undefined }),
  readOnly = false,
}: {
  file: string
  budget?: DiskBudget
  /** For one who only looks, beside a process that writes. The file must be there. */
  readOnly?: boolean
}): SqliteIndexStore {
  const { database, setAside } = openSqliteFile(file, readOnly)
  const statements = prepareStatements(database)
  const pageSize = Number(readPragma(database, 'page_size'))
  let charged = 0
  let open = true
  charge()

  function charge(): void {
    const pages = Number(Object.values(statements.pageCount.get() ?? {})[0])
    const needed = (Math.ceil((pages * pageSize) / stepBytes) + 1) * stepBytes + logBytes
    if (needed === charged) return
    budget.charge(needed - charged)
    charged = needed
  }

  function change(work: () => void): void {
    database.exec('BEGIN IMMEDIATE')
    try {
      work()
      database.exec('COMMIT')
    } catch (error) {
      // A full disk has rolled back already.
      if (database.isTransaction) database.exec('ROLLBACK')
      throw error
    }
    charge()
  }

  return {
    setAside,
    get complete() {
      return statements.isComplete.get() !== undefined
    },
    markComplete() {
      statements.markComplete.run()
    },

    async getTag({ upstreamId, repository, tag }) {
      const row = statements.getTag.get(upstreamId, repository, tag)
      return row && tagEntry(row)
    },

    async putTag({ upstreamId, repository, tag }, entry) {
      const { digest, mediaType, size, writtenAt, checkedAt, walks } = entry
      const values = [digest, mediaType, size, writtenAt, checkedAt, JSON.stringify(walks)]
      statements.putTag.run(upstreamId, repository, tag, ...values)
      charge()
    },

    async touchTag({ upstreamId, repository, tag }, digest, checkedAt) {
      statements.touchTag.run(checkedAt, upstreamId, repository, tag, digest)
    },

    async deleteTag({ upstreamId, repository, tag }) {
      statements.deleteTag.run(upstreamId, repository, tag)
    },

    async getLink({ upstreamId, repository, kind, digest }) {
      const row = statements.getLink.get(upstreamId, repository, kind, digest)
      return row && linkEntry(row)
    },

    async putLink({ upstreamId, repository, kind, digest }, { mediaType, size, origin, children, subject }) {
      const values = [mediaType, size, origin, JSON.stringify(children), subject ?? null]
      change(() => {
        statements.putLink.run(upstreamId, repository, kind, digest, ...values)
        if (kind === 'blob') return
        statements.deleteMentions.run(upstreamId, repository, digest)
        for (const child of children) {
          const mention = [child.digest, digest, child.kind, child.mediaType, child.size]
          statements.putMention.run(upstreamId, repository, ...mention)
        }
      })
    },

    async deleteLink({ upstreamId, repository, kind, digest }) {
      change(() => {
        statements.deleteLink.run(upstreamId, repository, kind, digest)
        if (kind === 'manifest') statements.deleteMentions.run(upstreamId, repository, digest)
      })
    },

    async getPossession(origin, digest) {
      const row = statements.getPossession.get(origin, digest)
      return row && Number(row.size)
    },

    async getMention(upstreamId, repository, digest) {
      const row = statements.getMention.get(upstreamId, repository, digest)
      return row && mentionOf(row)
    },

    async recordUses(uses) {
      if (uses.length === 0) return
      change(() => {
        for (const use of uses) record(use)
      })
    },

    async *listTags(upstreamId) {
      let last: TagKey | undefined
      do {
        const rows = statements.listTags.all(upstreamId, last?.repository ?? '', last?.tag ?? '', pageRows)
        const page = rows.map((row) => listed(tagKey(upstreamId, row), tagEntry(row), row))
        yield* page
        last = page.length < pageRows ? undefined : page.at(-1)?.key
      } while (last)
    },

    async *listLinks(upstreamId) {
      let last: LinkKey | undefined
      do {
        const after = [last?.repository ?? '', last?.kind ?? '', last?.digest ?? '']
        const rows = statements.listLinks.all(upstreamId, ...after, pageRows)
        const page = rows.map((row) => listed(linkKey(upstreamId, row), linkEntry(row), row))
        yield* page
        last = page.length < pageRows ? undefined : page.at(-1)?.key
      } while (last)
    },

    async *listUpstreams() {
      for (let last: string | undefined = ''; last !== undefined; ) {
        const { upstream }: Row = statements.nextUpstream.get(last, last) ?? {}
        last = typeof upstream === 'string' ? upstream : undefined
        if (last !== undefined) yield last
      }
    },

    async close() {
      if (open) database.close()
      open = false
    },
  }

  function record({ usedAt, downloads, tag, link }: Use): void {
    if (tag) statements.useTag.run(usedAt, downloads, tag.upstreamId, tag.repository, tag.tag)
    else statements.useLink.run(usedAt, downloads, link.upstreamId, link.repository, link.kind, link.digest)
  }
}

/** What is in the file was put there by the functions above. */
function tagEntry(row: Row): TagEntry {
  return {
    digest: row.digest as Digest,
    mediaType: String(row.media_type),
    size: Number(row.size),
    writtenAt: Number(row.written_at),
    checkedAt: Number(row.checked_at),
    walks: JSON.parse(String(row.walks)),
  }
}

function linkEntry(row: Row): LinkEntry {
  return {
    mediaType: String(row.media_type),
    size: Number(row.size),
    origin: String(row.origin),
    children: JSON.parse(String(row.children)),
    subject: row.subject === null ? undefined : (row.subject as Digest),
  }
}

function mentionOf(row: Row): Mention {
  return {
    digest: row.digest as Digest,
    kind: row.kind as Mention['kind'],
    mediaType: String(row.media_type),
    size: Number(row.size),
  }
}

function tagKey(upstreamId: string, row: Row): TagKey {
  return { upstreamId, repository: String(row.repository), tag: String(row.tag) }
}

function linkKey(upstreamId: string, row: Row): LinkKey {
  const kind = row.kind as LinkKey['kind']
  return { upstreamId, repository: String(row.repository), kind, digest: row.digest as Digest }
}

function listed<Key, Entry>(key: Key, entry: Entry, row: Row): Listed<Key, Entry> {
  const usedAt = row.used_at === null ? undefined : Number(row.used_at)
  return { key, entry, usedAt, downloads: Number(row.downloads) }
}
