import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createFileBlobStore } from '../../../proxy/store/file-blob-store.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import { putBlob, readBlob } from '../../contracts/blobs.ts'

/** Run with few descriptors: uses them up, tries everything, gives them back, tries again. Prints what came of it. */
const folder = process.argv[2]!
const observer = { spoolBytes() {}, storedBytes() {}, evicted() {} }
const blobs = await createFileBlobStore({ root: join(folder, 'blobs'), observer })
const documents = await createFileDocumentStore({ root: join(folder, 'documents') })
const bytes = randomBytes(1000)
const another = randomBytes(1000)
await putBlob(blobs, bytes)
await documents.put('a/b', '1')
const writer = (await blobs.create(digestOf(another), undefined))!
await writer.append([another])

const opened = []
const codeOf = (error: NodeJS.ErrnoException) => error.code ?? error.name
for (let failed = false; !failed; ) {
  const blob = await blobs.open(digestOf(bytes)).catch(() => undefined)
  if (blob) opened.push(blob)
  else failed = true
}
const without = {
  open: await blobs.open(digestOf(bytes)).then(() => 'done', codeOf),
  create: await blobs.create(digestOf(another), 10).then(() => 'done', codeOf),
  commit: await writer.commit().then(() => 'done', codeOf),
  get: await documents.get('a/b').then(() => 'done', codeOf),
  put: await documents.put('a/c', '2').then(() => 'done', codeOf),
  list: await blobs
    .list()
    [Symbol.asyncIterator]()
    .next()
    .then(() => 'done', codeOf),
}
for (const blob of opened) await blob.close()
await writer.abort()
await writer.close()
await putBlob(blobs, another)
await documents.put('a/c', '2')
const again =
  (await readBlob(blobs, digestOf(another)))?.equals(another) && (await documents.get('a/c'))?.body === '2'
const leftovers: string[] = []
for await (const { path } of blobs.leftovers()) leftovers.push(path)
for await (const { path } of documents.leftovers()) leftovers.push(path)
process.stdout.write(JSON.stringify({ without, again, leftovers }))
