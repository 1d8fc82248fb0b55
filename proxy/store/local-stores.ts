import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Observer } from '../observer.ts'
import { createDeletionMarks, withMarksLifted } from './deletion-marks.ts'
import { createDiskBudget } from './disk-budget.ts'
import { makeRoot } from './durability.ts'
import { createFileBlobStore, type FileBlobStore } from './file-blob-store.ts'
import { createFileDocumentStore, type FileDocumentStore } from './file-document-store.ts'
import { lockFolder } from './folder-lock.ts'
import { rebuildIndex } from './rebuild-index.ts'
import { createSqliteIndexStore, type SqliteIndexStore } from './sqlite-index-store.ts'
import type { Leftover } from './stored-files.ts'
import type { Sweepable } from './sweepable.ts'

export interface LocalStores {
  readonly blobs: FileBlobStore
  readonly documents: FileDocumentStore
  readonly index: SqliteIndexStore
  leftovers(): AsyncIterable<Leftover>
  /** Only when nobody uses the stores any more. */
  close(): Promise<void>
}

/**
 * The three stores of one machine in one folder. `maxBytes` bounds all they have on its disk together. An index that was
 * lost, damaged or never finished is built from the documents first. Throws FolderInUseError.
 */
export async function openLocalStores({
  folder,
  maxBytes,
  observer,
}: {
  folder: string
  maxBytes: number | undefined
  observer: Pick<Observer, 'spoolBytes' | 'storedBytes' | 'evicted'>
}): Promise<LocalStores & { readonly sweepable: Sweepable }> {
  const root = await makeRoot(folder)
  const unlock = lockFolder(join(root, 'lock'))
  let index: SqliteIndexStore | undefined
  try {
    const budget = createDiskBudget({ maxBytes })
    index = createSqliteIndexStore({ file: join(root, 'index.sqlite'), budget })
    const documents = await createFileDocumentStore({ root: join(root, 'documents'), budget })
    const blobs = await createFileBlobStore({ root: join(root, 'blobs'), budget, observer })
    if (!index.complete) {
      await rebuildIndex(documents, index)
      index.markComplete()
    }
    const markDocuments = await createFileDocumentStore({ root: join(root, 'marks'), budget })
    const marks = createDeletionMarks({ documents: markDocuments, now: Date.now })
    const stores = together({ blobs: withMarksLifted(blobs, marks), documents, index }, unlock)
    const leftovers = async function* () {
      yield* blobs.orphans()
      yield* documents.leftovers()
      yield* markDocuments.leftovers()
    }
    return { ...stores, sweepable: { blobs, documents, marks, leftovers, uploads: undefined } }
  } catch (error) {
    await index?.close()
    unlock()
    throw error
  }
}

/**
 * The same to look at, also beside the process that owns the folder: nothing is made, swept, locked, evicted or rebuilt,
 * and nothing may be written.
 */
export async function openLocalStoresToRead(folder: string): Promise<LocalStores> {
  const file = join(folder, 'index.sqlite')
  const observer = { spoolBytes: () => {}, storedBytes: () => {}, evicted: () => {} }
  const documents = await createFileDocumentStore({ root: join(folder, 'documents'), owner: false })
  const blobs = await createFileBlobStore({ root: join(folder, 'blobs'), observer, owner: false })
  const index = existsSync(file)
    ? createSqliteIndexStore({ file, readOnly: true })
    : createSqliteIndexStore({ file: ':memory:' })
  return together({ blobs, documents, index }, () => {})
}

function together(
  stores: Pick<LocalStores, 'blobs' | 'documents' | 'index'>,
  unlock: () => void,
): LocalStores {
  return {
    ...stores,
    async *leftovers() {
      yield* stores.blobs.leftovers()
      yield* stores.documents.leftovers()
    },
    async close() {
      await stores.index.close()
      unlock()
    },
  }
}
