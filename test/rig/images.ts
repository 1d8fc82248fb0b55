import { type DigestAlgorithm, hexOf } from '../../proxy/oci/digest.ts'
import type { Descriptor } from './content.ts'
import type { ImageStore } from './image-store.ts'
import { bytesSource, randomSource, type Source, sourceBytes, sourceDigest, textSource } from './source.ts'
import { gzipSource, tarSource } from './tar.ts'

export interface SampleImage {
  readonly repository: string
  readonly tag: string | undefined
  readonly manifest: Descriptor
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

export interface SampleIndex {
  readonly repository: string
  readonly tag: string
  readonly index: Descriptor
  readonly images: readonly SampleImage[]
}

export interface SampleArtifact {
  readonly repository: string
  readonly tag: string
  /** What the referrers are about. */
  readonly subject: SampleImage
  readonly referrers: readonly Descriptor[]
}

export interface Platform {
  readonly os: string
  readonly architecture: string
}

const types = {
  oci: {
    manifest: 'application/vnd.oci.image.manifest.v1+json',
    index: 'application/vnd.oci.image.index.v1+json',
    config: 'application/vnd.oci.image.config.v1+json',
    tar: 'application/vnd.oci.image.layer.v1.tar',
    gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    manifest: 'application/vnd.docker.distribution.manifest.v2+json',
    index: 'application/vnd.docker.distribution.manifest.list.v2+json',
    config: 'application/vnd.docker.container.image.v1+json',
    tar: 'application/vnd.docker.image.rootfs.diff.tar',
    gzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const

const thisMachine: Platform = { os: 'linux', architecture: process.arch === 'x64' ? 'amd64' : process.arch }

/**
 * An image that clients can unpack: each layer is an archive with one file of random bytes. `layers` are the sizes of
 * these files; `empty` makes the layer itself 0 bytes long.
 */
export async function pushImage(
  store: ImageStore,
  repository: string,
  {
    tag,
    layers = [1000],
    kind = 'oci',
    platform = thisMachine,
    seed = 1,
    algorithm,
    inMemory = false,
  }: {
    tag?: string
    layers?: readonly (number | 'empty')[]
    kind?: 'oci' | 'docker'
    platform?: Platform
    seed?: number
    algorithm?: DigestAlgorithm
    /** Holds large layers as bytes, for a fake that must not spend time on making them. */
    inMemory?: boolean
  } = {},
): Promise<SampleImage> {
  const mediaTypes = types[kind]
  const pushed: Descriptor[] = []
  const diffIds: string[] = []
  for (const [number, size] of layers.entries()) {
    const { archive, blob } = layerOf(size, seed * 1000 + number)
    const held = inMemory ? bytesSource(sourceBytes(blob)) : blob
    const mediaType = size === 'empty' ? mediaTypes.tar : mediaTypes.gzip
    pushed.push(await store.putBlob(repository, held, { mediaType, algorithm }))
    diffIds.push(sourceDigest(archive))
  }
  const configuration = { ...platform, config: {}, rootfs: { type: 'layers', diff_ids: diffIds } }
  const config = await store.putBlob(repository, textSource(JSON.stringify(configuration)), {
    mediaType: mediaTypes.config,
    algorithm,
  })
  const body = { schemaVersion: 2, mediaType: mediaTypes.manifest, config, layers: pushed }
  const manifest = await store.putManifest(repository, body, {
    mediaType: mediaTypes.manifest,
    tag,
    algorithm,
  })
  return { repository, tag, manifest, config, layers: pushed }
}

function layerOf(size: number | 'empty', seed: number): { archive: Source; blob: Source } {
  if (size === 'empty') return { archive: textSource(''), blob: textSource('') }
  const archive = tarSource([{ name: `file-${seed}`, content: randomSource({ size, seed }) }])
  return { archive, blob: gzipSource(archive) }
}

/** One image for each platform and an index over them. */
export async function pushIndex(
  store: ImageStore,
  repository: string,
  {
    tag,
    kind = 'oci',
    platforms = [thisMachine, { os: 'linux', architecture: 'riscv64' }],
    seed = 50,
    algorithm,
  }: {
    tag: string
    kind?: 'oci' | 'docker'
    platforms?: readonly Platform[]
    seed?: number
    algorithm?: DigestAlgorithm
  },
): Promise<SampleIndex> {
  const images: SampleImage[] = []
  for (const [number, platform] of platforms.entries()) {
    const options = { kind, platform, seed: seed + number, ...(algorithm && { algorithm }) }
    images.push(await pushImage(store, repository, options))
  }
  const mediaType = types[kind].index
  const manifests = images.map(({ manifest }, number) => ({ ...manifest, platform: platforms[number] }))
  const body = { schemaVersion: 2, mediaType, manifests }
  const index = await store.putManifest(repository, body, { mediaType, tag, algorithm })
  return { repository, tag, index, images }
}

/**
 * An image with a signature and an SBOM that refer to it. `byTagSchema` also writes the index under `sha256-<hex>` that
 * registries without the referrers API are asked for.
 * https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema
 */
export async function pushArtifact(
  store: ImageStore,
  repository: string,
  { tag, byTagSchema, seed = 90 }: { tag: string; byTagSchema: boolean; seed?: number },
): Promise<SampleArtifact> {
  const subject = await pushImage(store, repository, { tag, seed })
  const config = await store.putBlob(repository, textSource('{}'), {
    mediaType: 'application/vnd.oci.empty.v1+json',
  })
  const referrers: Descriptor[] = []
  for (const artifactType of ['application/vnd.example.signature', 'application/vnd.example.sbom']) {
    const layer = await store.putBlob(repository, textSource(`${artifactType} ${seed}`), {
      mediaType: artifactType,
    })
    const annotations = { 'org.opencontainers.image.created': '2001-09-09T01:46:40Z' }
    const mediaType = types.oci.manifest
    const body = {
      schemaVersion: 2,
      mediaType,
      artifactType,
      config,
      layers: [layer],
      subject: subject.manifest,
      annotations,
    }
    const descriptor = await store.putManifest(repository, body, { mediaType })
    referrers.push({ ...descriptor, artifactType, annotations })
  }
  if (byTagSchema) {
    const mediaType = types.oci.index
    const schemaTag = `sha256-${hexOf(subject.manifest.digest)}`
    await store.putManifest(
      repository,
      { schemaVersion: 2, mediaType, manifests: referrers },
      { mediaType, tag: schemaTag },
    )
  }
  return { repository, tag, subject, referrers }
}
