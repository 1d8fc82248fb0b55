import { digestOf } from '../../../proxy/oci/digest.ts'
import { formatLinkDocument, formatTagDocument } from '../../../proxy/store/documents.ts'
import type { LinkEntry, LinkKey, Mention, TagEntry, TagKey } from '../../../proxy/store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../../../proxy/store/keys.ts'
import type { ScrubbedStores } from '../../../proxy/store/scrub.ts'
import { putBlob } from '../../contracts/blobs.ts'

export const upstreamId = 'e'.repeat(64)

export function tagOf(repository: string): TagKey {
  return { upstreamId, repository, tag: 'latest' }
}

/** A manifest of a config and a layer under the tag `latest`, all of it stored, linked and indexed as a pull does it. */
export async function putImage(stores: ScrubbedStores, repository: string, layerBytes = 100) {
  const content = Buffer.alloc(layerBytes, `layer of ${repository}`)
  const layer = await putBytes(stores, content, 'x/layer')
  const config = await putBytes(stores, Buffer.from(`config of ${repository}`), 'x/config')
  const bytes = Buffer.from(JSON.stringify({ repository, layers: [layer], config }))
  await putBlob(stores.blobs, bytes)

  const digest = digestOf(bytes)
  const linkKey: LinkKey = { upstreamId, repository, kind: 'manifest', digest }
  const link: LinkEntry = { ...entryOf('x/manifest', bytes.length), children: [config, layer] }
  const tag: TagEntry = {
    digest,
    mediaType: 'x/manifest',
    size: bytes.length,
    writtenAt: 1000,
    checkedAt: 2000,
    walks: [],
  }
  for (const child of [layer, config]) {
    await putLink(
      stores,
      { ...linkKey, kind: 'blob', digest: child.digest },
      entryOf(child.mediaType, child.size),
    )
  }
  await putLink(stores, linkKey, link)
  await putTag(stores, repository, tag)
  return { repository, bytes, digest, layer, config, linkKey, link, tag }
}

export async function putLink(
  { documents, index }: ScrubbedStores,
  key: LinkKey,
  entry: LinkEntry,
  { indexed = true } = {},
): Promise<void> {
  await documents.put(linkDocumentKey(key), formatLinkDocument(entry))
  if (indexed) await index.putLink(key, entry)
}

export async function putTag(
  { documents, index }: ScrubbedStores,
  repository: string,
  entry: TagEntry,
  { indexed = true } = {},
): Promise<void> {
  await documents.put(tagDocumentKey(tagOf(repository)), formatTagDocument(entry))
  if (indexed) await index.putTag(tagOf(repository), entry)
}

async function putBytes({ blobs }: ScrubbedStores, bytes: Buffer, mediaType: string): Promise<Mention> {
  await putBlob(blobs, bytes)
  return { digest: digestOf(bytes), kind: 'blob', mediaType, size: bytes.length }
}

function entryOf(mediaType: string, size: number): LinkEntry {
  return { mediaType, size, origin: 'origin', children: [] }
}
