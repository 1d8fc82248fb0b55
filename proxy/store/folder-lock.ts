import { DatabaseSync } from 'node:sqlite'

/** Another process has the folder. */
export class FolderInUseError extends Error {
  override readonly name = 'FolderInUseError'
}

/**
 * Makes this process the only owner until it ends or calls what is returned. SQLite holds the lock, since Node has none of
 * its own: the system takes it away with the process, however that dies.
 */
export function lockFolder(file: string): () => void {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    database.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
  } catch (cause) {
    database.close()
    throw new FolderInUseError(`another process is using ${file}`, { cause })
  }
  return () => database.close()
}
