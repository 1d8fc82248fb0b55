import { join } from 'node:path'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { putBlob } from '../../contracts/blobs.ts'

/** Run under strace: commits one blob, then puts the document of its link. */
const folder = process.argv[2]!
const observer = { spoolBytes() {}, storedBytes() {}, evicted() {} }
const blobs = await createFileBlobStore({ root: join(folder, 'blobs'), observer })
const documents = await createFileDocumentStore({ root: join(folder, 'documents') })
await putBlob(blobs, Buffer.alloc(3_000_000, 7))
await documents.put('upstreams/1/alpine/_links/blobs/sha256/the-link', '{}')
