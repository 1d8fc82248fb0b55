import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import { DatabaseSync } from 'node:sqlite'

/** Raised with every change of the tables: an index of another version is set aside and built anew. */
const schemaVersion = 1

const schema = `
CREATE TABLE tags (
  upstream TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL,
  digest TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
  written_at REAL NOT NULL, checked_at REAL NOT NULL, walks TEXT NOT NULL,
  used_at REAL, downloads INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (upstream, repository, tag)
) STRICT, WITHOUT ROWID;

CREATE TABLE links (
  upstream TEXT NOT NULL, repository TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
  media_type TEXT NOT NULL, size INTEGER NOT NULL, origin TEXT NOT NULL,
  children TEXT NOT NULL, subject TEXT,
  used_at REAL, downloads INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (upstream, repository, kind, digest)
) STRICT, WITHOUT ROWID;
-- Possession is a link of that origin: it needs no table.
CREATE INDEX possessions ON links (origin, digest, size);

CREATE TABLE mentions (
  upstream TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, manifest TEXT NOT NULL,
  kind TEXT NOT NULL, media_type TEXT NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (upstream, repository, digest, manifest)
) STRICT, WITHOUT ROWID;
CREATE INDEX mentions_by_manifest ON mentions (upstream, repository, manifest);

-- One row once every document there was is in the index.
CREATE TABLE complete (yes INTEGER PRIMARY KEY) STRICT;
`

const settings = 'PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 4194304'

export interface SqliteFile {
  readonly database: DatabaseSync
  /** Where an index that could not be used was put; undefined when there was none. */
  readonly setAside: string | undefined
}

/**
 * Opens the index, or starts an empty one. A file that is damaged or of another version is set aside, not deleted; only
 * the last such file is kept. Looks for damage only where the last process did not close the file.
 */
export function openSqliteFile(file: string, readOnly: boolean): SqliteFile {
  if (readOnly) return { database: openUsable(file, true), setAside: undefined }
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  try {
    return { database: openUsable(file, false), setAside: undefined }
  } catch (error) {
    if (!isUnusable(error)) throw error
  }
  const setAside = `${file}.set-aside`
  for (const suffix of ['', '-wal', '-shm']) {
    rmSync(`${setAside}${suffix}`, { force: true })
    if (existsSync(`${file}${suffix}`)) renameSync(`${file}${suffix}`, `${setAside}${suffix}`)
  }
  return { database: openUsable(file, false), setAside }
}

class UnusableFileError extends Error {
  override readonly name = 'UnusableFileError'
}

function openUsable(file: string, readOnly: boolean): DatabaseSync {
  const unclean = existsSync(`${file}-wal`)
  const database = new DatabaseSync(file, { readOnly, timeout: 5000 })
  try {
    if (unclean && readPragma(database, 'quick_check(1)') !== 'ok') throw new UnusableFileError('damaged')

    const version = readPragma(database, 'user_version')
    const empty = database.prepare('SELECT 1 FROM sqlite_schema LIMIT 1').get() === undefined
    if (version !== schemaVersion && (!empty || version !== 0 || readOnly)) {
      throw new UnusableFileError(`of version ${version}`)
    }
    if (!readOnly) database.exec(settings)
    if (empty) database.exec(`BEGIN; ${schema} PRAGMA user_version = ${schemaVersion}; COMMIT`)
    return database
  } catch (error) {
    database.close()
    throw error
  }
}

export function readPragma(database: DatabaseSync, pragma: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
}

const sqliteCorrupt = 11
const sqliteNotADatabase = 26

function isUnusable(error: unknown): boolean {
  if (error instanceof UnusableFileError) return true
  const code = error instanceof Error ? (error as Error & { errcode?: number }).errcode : undefined
  return code !== undefined && [sqliteCorrupt, sqliteNotADatabase].includes(code & 0xff)
}
