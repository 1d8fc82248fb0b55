import { type Digest, type DigestAlgorithm, digestOf, hexOf } from '../../../proxy/oci/digest.ts'
import { type Content, createContent, type Descriptor } from '../content.ts'
import { contentStore, type ImageStore } from '../image-store.ts'
import { pushArtifact, pushImage, pushIndex } from '../images.ts'
import { sourceDigest } from '../source.ts'

export const sampleIds = [
  'oci-image',
  'docker-image',
  'oci-index',
  'docker-list',
  'referrers-by-tag',
  'referrers-by-api',
  'sha512',
  'empty-layer',
  'large-layer',
] as const
export type SampleId = (typeof sampleIds)[number]

/** How the table calls them. */
export const sampleTitles: Readonly<Record<SampleId, string>> = {
  'oci-image': 'OCI image',
  'docker-image': 'Docker image',
  'oci-index': 'OCI index',
  'docker-list': 'Docker manifest list',
  'referrers-by-tag': 'artifacts that refer to an image (tag schema)',
  'referrers-by-api': 'the same (referrers API)',
  sha512: 'sha512',
  'empty-layer': '0-byte layer',
  'large-layer': '1 GiB layer',
}

export interface Sample {
  readonly id: SampleId
  readonly repository: string
  readonly tag: string
  /** What the tag is. */
  readonly top: Descriptor
  readonly algorithm: DigestAlgorithm
  readonly tags: readonly string[]
  readonly referrers: readonly Descriptor[]
  /** The list of them that a registry without the referrers API has under a tag. */
  readonly schema: { readonly tag: string; readonly digest: Digest } | undefined
  /** Every manifest and blob, of all platforms and all that refers to it; not that list. */
  readonly all: readonly Digest[]
  /** The same for this machine's platform only. */
  readonly platform: readonly Digest[]
  /** What a client has that keeps layers as archives: sha256 of the manifest of the tag, of configurations and archives. */
  readonly unpacked: readonly Digest[]
}

export const largeLayerBytes = 1024 ** 3

/** Puts a sample where clients shall find it; two stores with the same sample have the same bytes. */
export async function pushSample(
  store: ImageStore,
  id: SampleId,
  { largeBytes = largeLayerBytes }: { largeBytes?: number } = {},
): Promise<void> {
  const repository = repositoryOf(id)
  const tag = 'one'
  switch (id) {
    case 'oci-image':
      return void (await pushImage(store, repository, { tag, layers: [1000, 2_000_000], seed: 11 }))
    case 'docker-image':
      return void (await pushImage(store, repository, {
        ...{ tag, layers: [1000, 2_000_000], seed: 12, kind: 'docker' },
      }))
    case 'oci-index':
      return void (await pushIndex(store, repository, { tag, seed: 130 }))
    case 'docker-list':
      return void (await pushIndex(store, repository, { tag, seed: 140, kind: 'docker' }))
    case 'referrers-by-tag':
      return void (await pushArtifact(store, repository, { tag, seed: 15, byTagSchema: true }))
    case 'referrers-by-api':
      return void (await pushArtifact(store, repository, { tag, seed: 16, byTagSchema: false }))
    case 'sha512':
      return void (await pushImage(store, repository, {
        ...{ tag, layers: [1000, 2_000_000], seed: 17, algorithm: 'sha512' },
      }))
    case 'empty-layer':
      return void (await pushImage(store, repository, { tag, layers: ['empty'], seed: 18 }))
    case 'large-layer':
      return void (await pushImage(store, repository, { tag, layers: [largeBytes], seed: 19 }))
  }
}

/** What a client must have of a sample, read from the bytes themselves. */
export async function readSample(id: SampleId, options: { largeBytes?: number } = {}): Promise<Sample> {
  const content = createContent()
  await pushSample(contentStore(content), id, options)
  const repository = repositoryOf(id)
  const held = content.repository(repository)!
  const tag = 'one'
  const digest = held.tags.get(tag)!
  const top = held.manifests.get(digest)!
  const schemaTag = `sha256-${hexOf(digest)}`
  const list = held.tags.get(schemaTag)
  const platform = belowManifest(content, repository, digest, isThisPlatform)
  return {
    ...{ id, repository, tag, top: top.descriptor, platform },
    algorithm: id === 'sha512' ? 'sha512' : 'sha256',
    tags: [...held.tags.keys()],
    schema: list && { tag: schemaTag, digest: list },
    referrers: content.referrers(repository, digest),
    all: [...held.manifests.keys(), ...held.blobs.keys()].filter((one) => one !== list),
    unpacked: [digestOf(top.bytes), ...unpacked(content, repository, platform)],
  }
}

function repositoryOf(id: SampleId): string {
  return `headwater-test/${id}`
}

interface ManifestBody {
  manifests?: Descriptor[]
  config?: Descriptor
  layers?: Descriptor[]
}

function belowManifest(
  content: Content,
  repository: string,
  digest: Digest,
  follow: (child: Descriptor) => boolean,
): Digest[] {
  const manifest = content.repository(repository)?.manifests.get(digest)
  const { manifests = [], config, layers = [] } = JSON.parse(`${manifest?.bytes}`) as ManifestBody
  const blobs = config ? [config, ...layers] : []
  return [
    digest,
    ...manifests.filter(follow).flatMap((child) => belowManifest(content, repository, child.digest, follow)),
    ...blobs.map((blob) => blob.digest),
  ]
}

function isThisPlatform({ platform }: Descriptor): boolean {
  return platform?.architecture === (process.arch === 'x64' ? 'amd64' : process.arch)
}

function unpacked(content: Content, repository: string, digests: readonly Digest[]): Digest[] {
  const { manifests, blobs } = content.repository(repository)!
  return digests.flatMap((digest) => {
    const body = JSON.parse(`${manifests.get(digest)?.bytes ?? '{}'}`) as ManifestBody
    const config = body.config && blobs.get(body.config.digest)
    if (!config) return []
    const text = [...config.read(0, config.size)].join('')
    const { rootfs } = JSON.parse(text) as { rootfs: { diff_ids: Digest[] } }
    return [sourceDigest(config), ...rootfs.diff_ids]
  })
}
