import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { digestOf } from '../../../proxy/oci/digest.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import { openLocalStores, openLocalStoresToRead } from '../../../proxy/store/local-stores.ts'
import { rebuildIndex } from '../../../proxy/store/rebuild-index.ts'
import { putBlob, readBlob } from '../../contracts/blobs.ts'
import { putImage, putLink, putTag, tagOf } from './sample-image.ts'
import { blocksBelow, noObserver as observer, temporaryFolder } from './temporary-folder.ts'

describe('the stores of one machine', () => {
  it('are all there after a restart', async () => {
    const folder = await temporaryFolder()
    const before = await openLocalStores({ folder, maxBytes: undefined, observer })
    const image = await putImage(before, 'library/alpine')
    await before.close()
    const after = await opened(folder)
    expect(await readBlob(after.blobs, image.digest)).toEqual(image.bytes)
    expect(await after.index.getTag(tagOf('library/alpine'))).toEqual(image.tag)
  })

  it('know every image again after the index was lost', async () => {
    const folder = await temporaryFolder()
    const before = await openLocalStores({ folder, maxBytes: undefined, observer })
    const images = [await putImage(before, 'library/alpine'), await putImage(before, 'library')]
    await before.close()
    for (const suffix of ['', '-wal', '-shm'])
      await rm(join(folder, `index.sqlite${suffix}`), { force: true })

    const after = await opened(folder)
    expect(after.index.complete).toBe(true)
    for (const { repository, link, tag, linkKey, layer } of images) {
      expect(await after.index.getTag(tagOf(repository))).toEqual({ ...tag, checkedAt: 0 })
      expect(await after.index.getLink(linkKey)).toEqual(link)
      expect(await after.index.getPossession(link.origin, linkKey.digest)).toBe(link.size)
      expect((await after.index.getMention(linkKey.upstreamId, repository, layer.digest))?.kind).toBe('blob')
    }
  })

  it('know every image again after the index was damaged', async () => {
    const folder = await temporaryFolder()
    const before = await openLocalStores({ folder, maxBytes: undefined, observer })
    const image = await putImage(before, 'library/alpine')
    await before.close()
    await writeFile(join(folder, 'index.sqlite'), 'rubbish')
    const after = await opened(folder)
    expect(after.index.setAside).toBeDefined()
    expect(await after.index.getLink(image.linkKey)).toEqual(image.link)
  })

  it('belong to one process at a time', async () => {
    const folder = await temporaryFolder()
    const first = await openLocalStores({ folder, maxBytes: undefined, observer })
    const second = openLocalStores({ folder, maxBytes: undefined, observer })
    await expect(second).rejects.toMatchObject({ name: 'FolderInUseError' })
    await first.close()
    await opened(folder)
  })

  it('can be looked at beside their owner, and where there is nothing', async () => {
    const folder = await temporaryFolder()
    const nothing = await openLocalStoresToRead(join(folder, 'nothing'))
    expect(await nothing.blobs.stat(digestOf(Buffer.from('x')))).toBeUndefined()
    await nothing.close()

    const owner = await opened(folder)
    const image = await putImage(owner, 'library/alpine')
    const reader = await openLocalStoresToRead(folder)
    expect(await reader.index.getLink(image.linkKey)).toEqual(image.link)
    await reader.close()
    await putBlob(owner.blobs, Buffer.from('more'))
  })

  it('let documents take room from blobs', async () => {
    const folder = await temporaryFolder()
    const stores = await openLocalStores({ folder, maxBytes: 16 * 1024 * 1024, observer })
    onTestFinished(() => stores.close())
    const blobs = Array.from({ length: 8 }, (_, n) => Buffer.alloc(1024 * 1024, n))
    for (const bytes of blobs) await putBlob(stores.blobs, bytes)
    for (let n = 0; n < 8; n += 1) await stores.documents.put(`k${n}`, 'x'.repeat(500_000))
    expect(await stores.blobs.stat(digestOf(blobs[0]!))).toBeUndefined()
    expect(await stores.blobs.stat(digestOf(blobs[7]!))).toBeDefined()
    expect((await stores.documents.get('k7'))?.body).toHaveLength(500_000)
  })
})

it('the stores never take more of the disk than they may, all together', async () => {
  const folder = await temporaryFolder()
  const maxBytes = 16 * 1024 * 1024
  const stores = await openLocalStores({ folder, maxBytes, observer })
  onTestFinished(() => stores.close())
  let most = 0
  for (let n = 0; n < 40; n += 1) {
    await Promise.all(['a', 'b', 'c'].map((name) => putImage(stores, `${name}${n}/x`, 400_000 + n)))
    most = Math.max(most, await blocksBelow(folder))
  }
  expect(most).toBeLessThanOrEqual(maxBytes)
  expect(most).toBeGreaterThan(maxBytes / 2)
})

describe('rebuilding the index', () => {
  it('keeps what the index knows better, and counts what it cannot read', async () => {
    const stores = await opened(await temporaryFolder())
    const image = await putImage(stores, 'library/alpine')
    await stores.index.touchTag(tagOf('library/alpine'), image.tag.digest, 99_000)
    await stores.index.recordUses([{ tag: tagOf('library/alpine'), usedAt: 5, downloads: 3 }])
    await stores.documents.put(tagDocumentKey(tagOf('broken')), '{"digest":')
    await stores.documents.put(linkDocumentKey({ ...image.linkKey, repository: 'broken' }), '{}')
    await stores.documents.put('something/else', '{}')

    expect(await rebuildIndex(stores.documents, stores.index)).toEqual({
      tags: 1,
      links: 3,
      uses: 0,
      skipped: 3,
    })
    expect((await stores.index.getTag(tagOf('library/alpine')))?.checkedAt).toBe(99_000)
    expect(await stores.index.getTag(tagOf('broken'))).toBeUndefined()
    for await (const { downloads } of stores.index.listTags(image.linkKey.upstreamId))
      expect(downloads).toBe(3)
  })

  it('brings an index that is behind up to the documents', async () => {
    const stores = await opened(await temporaryFolder())
    const image = await putImage(stores, 'library/alpine')
    const newer = { ...image.tag, digest: image.layer.digest, writtenAt: image.tag.writtenAt + 1 }
    await putTag(stores, 'library/alpine', newer, { indexed: false })
    await putLink(stores, { ...image.linkKey, repository: 'other' }, image.link, { indexed: false })
    await rebuildIndex(stores.documents, stores.index)
    expect((await stores.index.getTag(tagOf('library/alpine')))?.digest).toBe(image.layer.digest)
    expect(await stores.index.getLink({ ...image.linkKey, repository: 'other' })).toEqual(image.link)
  })
})

async function opened(folder: string) {
  const stores = await openLocalStores({ folder, maxBytes: undefined, observer })
  onTestFinished(() => stores.close())
  return stores
}
