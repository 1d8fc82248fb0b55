import { truncate, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { blobKey } from '../../../proxy/store/blob-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import { openLocalStores } from '../../../proxy/store/local-stores.ts'
import { scrub } from '../../../proxy/store/scrub.ts'
import { begin, putBlob } from '../../contracts/blobs.ts'
import { putImage, putLink, putTag, tagOf, upstreamId } from './sample-image.ts'
import { noObserver as observer, temporaryFolder } from './temporary-folder.ts'

describe('scrub', () => {
  it('finds nothing wrong with two whole images, and counts them', async () => {
    const { stores } = await start()
    await putImage(stores, 'library/other')
    const { findings, findingsLeftOut, counts } = await scrub(stores, { hash: true })
    expect(findings).toEqual([])
    expect(findingsLeftOut).toBe(0)
    expect(counts).toMatchObject({
      blobs: 6,
      links: 6,
      tags: 2,
      evicted: 0,
      unindexed: 0,
      behind: 0,
      unfinished: 0,
    })
    expect(counts.blobBytes).toBeGreaterThan(100)
  })

  it('finds bytes that changed, when it hashes', async () => {
    const { folder, stores, image } = await start()
    await writeFile(fileOf(folder, image.layer.digest), 'x'.repeat(image.layer.size))
    expect((await scrub(stores, { hash: false })).findings).toEqual([])
    const { findings } = await scrub(stores, { hash: true })
    expect(findings).toMatchObject([{ kind: 'blob-spoiled', subject: image.layer.digest }])
  })

  it('finds a blob that is too short even when it does not hash', async () => {
    const { folder, stores, image } = await start()
    await truncate(fileOf(folder, image.layer.digest), 3)
    expect(kinds(await scrub(stores, { hash: false }))).toEqual(['blob-size'])
  })

  it('counts links whose blob was evicted as no fault', async () => {
    const { stores, image } = await start()
    await stores.blobs.delete(image.layer.digest)
    const { findings, counts } = await scrub(stores, { hash: true })
    expect(findings).toEqual([])
    expect(counts.evicted).toBe(1)
  })

  it('finds documents that do not parse, and files that are no document of ours', async () => {
    const { stores, image } = await start()
    await stores.documents.put(tagDocumentKey(tagOf('library/broken')), '{"digest":')
    await stores.documents.put(linkDocumentKey({ ...image.linkKey, repository: 'library/broken' }), '{}')
    await stores.documents.put('upstreams/short/x/_tags/y', '{}')
    const found = kinds(await scrub(stores, { hash: true }))
    expect(found.sort()).toEqual(['document-invalid', 'document-invalid', 'document-unknown'])
  })

  it('finds a tag that names a manifest without a link', async () => {
    const { stores, image } = await start()
    await stores.documents.delete(linkDocumentKey(image.linkKey))
    await stores.index.deleteLink(image.linkKey)
    expect(kinds(await scrub(stores, { hash: true }))).toEqual(['tag-without-link'])
  })

  it('asks no link of a cached list of referrers, only the right size', async () => {
    const { stores } = await start()
    const bytes = Buffer.from('{"manifests":[]}')
    const key = { upstreamId, repository: 'library/alpine', tag: `referrers/sha256/${'1'.repeat(64)}` }
    const document = { digest: digestOf(bytes), mediaType: 'x', size: bytes.length, writtenAt: 1, walks: [] }
    await putBlob(stores.blobs, bytes)
    await stores.documents.put(tagDocumentKey(key), JSON.stringify(document))
    expect((await scrub(stores, { hash: true })).findings).toEqual([])
    await stores.documents.put(tagDocumentKey(key), JSON.stringify({ ...document, size: 7 }))
    expect(kinds(await scrub(stores, { hash: true }))).toEqual(['blob-size'])
  })

  it('finds entries of the index that no document backs', async () => {
    const { stores, image } = await start()
    await stores.index.putTag({ ...tagOf('library/alpine'), tag: 'forged' }, image.tag)
    await stores.index.putLink({ ...image.linkKey, repository: 'forged' }, image.link)
    expect(kinds(await scrub(stores, { hash: true }))).toEqual([
      'index-without-document',
      'index-without-document',
    ])
  })

  it('finds entries of the index that say otherwise than their document', async () => {
    const { stores, image } = await start()
    await stores.index.putLink(image.linkKey, { ...image.link, origin: 'another' })
    await stores.index.putTag(tagOf('library/alpine'), {
      ...image.tag,
      digest: image.layer.digest,
      writtenAt: 9999,
    })
    expect(kinds(await scrub(stores, { hash: true }))).toEqual(['index-differs', 'index-differs'])
  })

  it('counts what the index was not told of before a crash as no fault', async () => {
    const { stores, image } = await start()
    await putLink(stores, { ...image.linkKey, repository: 'other' }, image.link, { indexed: false })
    const walks = [{ registry: 'default/hub', ns: '' }]
    await putTag(stores, 'library/alpine', { ...image.tag, walks }, { indexed: false })
    expect((await scrub(stores, { hash: true })).counts).toMatchObject({ unindexed: 1, behind: 1 })
    await putTag(stores, 'library/alpine', { ...image.tag, writtenAt: 1001 }, { indexed: false })
    const { findings, counts } = await scrub(stores, { hash: true })
    expect(findings).toEqual([])
    expect(counts.behind).toBe(1)
  })

  it('finds temporary files once they are old', async () => {
    const { folder, stores } = await start()
    const writer = await begin(stores.blobs, digestOf(Buffer.from('x')), undefined)
    onTestFinished(() => writer.close())
    const old = join(folder, 'documents', '.tmp', 'old')
    await writeFile(old, '')
    const hourAgo = new Date(Date.now() - 3_700_000)
    await utimes(old, hourAgo, hourAgo)
    const { findings, counts } = await scrub(stores, { hash: true })
    expect(findings).toMatchObject([{ kind: 'leftover', subject: old }])
    expect(counts.unfinished).toBe(1)
  })

  it('lists a thousand findings and counts the rest', async () => {
    const { stores, image } = await start()
    for (let n = 0; n < 1010; n += 1) {
      await stores.index.putTag({ ...tagOf('library/alpine'), tag: `forged-${n}` }, image.tag)
    }
    const { findings, findingsLeftOut } = await scrub(stores, { hash: false })
    expect(findings).toHaveLength(1000)
    expect(findingsLeftOut).toBe(10)
  })
})

async function start() {
  const folder = await temporaryFolder()
  const stores = await openLocalStores({ folder, maxBytes: undefined, observer })
  onTestFinished(() => stores.close())
  return { folder, stores, image: await putImage(stores, 'library/alpine') }
}

function fileOf(folder: string, digest: Parameters<typeof blobKey>[0]): string {
  return join(folder, 'blobs', blobKey(digest))
}

function kinds({ findings }: Awaited<ReturnType<typeof scrub>>): string[] {
  return findings.map(({ kind }) => kind)
}
