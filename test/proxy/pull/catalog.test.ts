import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { createCatalog } from '../../../proxy/pull/catalog.ts'
import { createFileDocumentStore } from '../../../proxy/store/file-document-store.ts'
import type { TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { createSqliteIndexStore } from '../../../proxy/store/sqlite-index-store.ts'
import { recorder } from './fill-rig.ts'

const keyFor = (tag: string): TagKey => ({ upstreamId: 'a'.repeat(64), repository: 'app', tag })

function entryOf(content: string, writtenAt: number): TagEntry {
  const manifest = { digest: digestOf(Buffer.from(content)), mediaType: 'x/manifest', size: 7 }
  return { ...manifest, walks: [], writtenAt, checkedAt: writtenAt }
}

async function create() {
  const root = await mkdtemp(join(tmpdir(), 'catalog-'))
  const documents = await createFileDocumentStore({ root })
  const index = createSqliteIndexStore({ file: ':memory:' })
  onTestFinished(async () => {
    await index.close()
    await rm(root, { recursive: true, force: true })
  })
  const open = () => createCatalog({ documents, index, observer: recorder([]) })
  return { catalog: open(), another: open() }
}

it('makes a tag durable although memory has let go of it meanwhile', async () => {
  const { catalog, another } = await create()
  const record = catalog.rememberTag(keyFor('v1'), entryOf('one', 1))
  for (let other = 0; other < 20_000; other++) catalog.rememberTag(keyFor(`v1.${other}`), entryOf('two', 1))
  expect(catalog.rememberedTag(keyFor('v1'))).toBeUndefined()
  await catalog.saveTag(record)
  expect((await another.tag(keyFor('v1')))?.entry).toEqual(record.entry)
})

it('never writes the older state of a tag over the newer', async () => {
  const { catalog, another } = await create()
  const older = catalog.rememberTag(keyFor('v1'), entryOf('one', 1))
  const newer = catalog.rememberTag(keyFor('v1'), entryOf('two', 2))
  await catalog.saveTag(newer)
  await catalog.saveTag(older)
  expect((await another.tag(keyFor('v1')))?.entry).toEqual(newer.entry)
})
