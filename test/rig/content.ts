import type { Digest, DigestAlgorithm } from '../../proxy/oci/digest.ts'
import { bytesSource, type Source, sourceDigest } from './source.ts'

export interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
  readonly artifactType?: string
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Readonly<{ os: string; architecture: string }>
}

export interface StoredManifest {
  readonly descriptor: Descriptor
  readonly bytes: Buffer
}

export interface Repository {
  readonly blobs: Map<Digest, Source>
  readonly manifests: Map<Digest, StoredManifest>
  readonly tags: Map<string, Digest>
}

/** What a registry holds, in memory. Changing it while requests run is what a test does to move a tag. */
export interface Content {
  repository(name: string): Repository | undefined
  putBlob(
    repository: string,
    blob: Source | Uint8Array | string,
    options?: { algorithm?: DigestAlgorithm; digest?: Digest; mediaType?: string },
  ): Descriptor
  /** `digest` of its own makes the registry lie about these bytes. */
  putManifest(
    repository: string,
    manifest: object | Uint8Array | string,
    options?: { mediaType?: string; tag?: string; algorithm?: DigestAlgorithm; digest?: Digest },
  ): Descriptor
  tag(repository: string, tag: string, digest: Digest): void
  untag(repository: string, tag: string): void
  remove(repository: string, digest: Digest): void
  /** Descriptors of the manifests whose `subject` is this digest, as the referrers API lists them. */
  referrers(repository: string, subject: Digest): Descriptor[]
}

export function createContent(): Content {
  const repositories = new Map<string, Repository>()
  const open = (name: string): Repository => {
    const known = repositories.get(name)
    if (known) return known
    const created: Repository = { blobs: new Map(), manifests: new Map(), tags: new Map() }
    repositories.set(name, created)
    return created
  }

  return {
    repository: (name) => repositories.get(name),

    putBlob(name, blob, { algorithm = 'sha256', digest, mediaType = 'application/octet-stream' } = {}) {
      const source = toSource(blob)
      const descriptor = { mediaType, digest: digest ?? sourceDigest(source, algorithm), size: source.size }
      open(name).blobs.set(descriptor.digest, source)
      return descriptor
    },

    putManifest(name, manifest, { mediaType, tag, algorithm = 'sha256', digest } = {}) {
      const bytes = toBytes(manifest)
      const descriptor = {
        mediaType: mediaType ?? mediaTypeOf(bytes),
        digest: digest ?? sourceDigest(bytesSource(bytes), algorithm),
        size: bytes.length,
      }
      const repository = open(name)
      repository.manifests.set(descriptor.digest, { descriptor, bytes })
      if (tag !== undefined) repository.tags.set(tag, descriptor.digest)
      return descriptor
    },

    tag: (name, tag, digest) => void open(name).tags.set(tag, digest),
    untag: (name, tag) => void open(name).tags.delete(tag),

    remove(name, digest) {
      const repository = open(name)
      repository.blobs.delete(digest)
      repository.manifests.delete(digest)
      for (const [tag, of] of repository.tags) if (of === digest) repository.tags.delete(tag)
    },

    referrers(name, subject) {
      const manifests = [...(repositories.get(name)?.manifests.values() ?? [])]
      return manifests.flatMap(({ descriptor, bytes }) => {
        const body = parsed(bytes)
        if (body?.subject?.digest !== subject) return []
        const artifactType = body.artifactType ?? body.config?.mediaType
        const { annotations } = body
        return [{ ...descriptor, ...(artifactType && { artifactType }), ...(annotations && { annotations }) }]
      })
    },
  }
}

function toSource(blob: Source | Uint8Array | string): Source {
  if (typeof blob === 'string') return bytesSource(Buffer.from(blob))
  return blob instanceof Uint8Array ? bytesSource(blob) : blob
}

function toBytes(manifest: object | Uint8Array | string): Buffer {
  if (typeof manifest === 'string') return Buffer.from(manifest)
  return manifest instanceof Uint8Array ? Buffer.from(manifest) : Buffer.from(JSON.stringify(manifest))
}

interface ManifestBody {
  mediaType?: string
  artifactType?: string
  config?: { mediaType?: string }
  subject?: { digest?: string }
  annotations?: Record<string, string>
}

function parsed(bytes: Buffer): ManifestBody | undefined {
  try {
    return JSON.parse(bytes.toString()) as ManifestBody
  } catch {
    return undefined
  }
}

function mediaTypeOf(bytes: Buffer): string {
  return parsed(bytes)?.mediaType ?? 'application/vnd.oci.image.manifest.v1+json'
}
