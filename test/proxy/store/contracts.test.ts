import { join } from 'node:path'
import { createDiskBudget } from '../../../proxy/store/disk-budget.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { createSqliteIndexStore } from '../../../proxy/store/sqlite-index-store.ts'
import { describeBlobStore } from '../../contracts/blob-store.ts'
import { describeDocumentStore } from '../../contracts/document-store.ts'
import { describeIndexStore } from '../../contracts/index-store.ts'
import { noObserver as observer, temporaryFolder } from './temporary-folder.ts'

const budget = () => createDiskBudget({ maxBytes: 64 * 1024 * 1024 })

describeBlobStore('files', async () => createFileBlobStore({ root: await temporaryFolder(), observer }))
describeBlobStore('files under a limit', async () =>
  createFileBlobStore({ root: await temporaryFolder(), observer, budget: budget() }),
)
describeDocumentStore('files', async () => createFileDocumentStore({ root: await temporaryFolder() }))
describeDocumentStore('files under a limit', async () =>
  createFileDocumentStore({ root: await temporaryFolder(), budget: budget() }),
)
describeIndexStore('SQLite', async () =>
  createSqliteIndexStore({ file: join(await temporaryFolder(), 'index.sqlite') }),
)
