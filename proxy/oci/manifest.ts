import { type Digest, isDigest } from './digest.ts'

/** Registries must take manifests of 4 MiB, and clients take none above. */
export const maxManifestBytes = 4 * 1024 * 1024

const manifestTypes = {
  'application/vnd.oci.image.index.v1+json': 'index',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index',
  'application/vnd.oci.image.manifest.v1+json': 'image',
  'application/vnd.docker.distribution.manifest.v2+json': 'image',
  'application/vnd.oci.artifact.manifest.v1+json': 'artifact',
} as const

type Shape = (typeof manifestTypes)[keyof typeof manifestTypes]

export const indexMediaType = 'application/vnd.oci.image.index.v1+json'

/** Sent upstream always whole, whatever the client accepts: what is cached must not depend on who asked first. */
export const manifestAccept = Object.keys(manifestTypes).join(', ')

export interface Descriptor {
  readonly digest: Digest
  readonly kind: 'manifest' | 'blob'
  readonly mediaType: string
  readonly size: number
}

export interface ManifestContent {
  /** What it lists: for an index manifests, otherwise config, layers or blobs. */
  readonly children: readonly Descriptor[]
  readonly subject: Digest | undefined
}

/**
 * Reads what a manifest says of others. Gives the reason in words when these bytes must not be served under this
 * Content-Type: not JSON, a type that is none of ours, a type other than the document's own `mediaType`, or a document
 * that is an image and an index at once (GHSA-qq97-vm5h-rrhg).
 */
export function readManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
): ManifestContent | { invalid: string } {
  const mediaType = essenceOf(contentType)
  const shape = shapeOf(mediaType)
  if (shape === undefined)
    return { invalid: `the media type ${JSON.stringify(mediaType.slice(0, 100))} is no manifest's` }
  const document = parseObject(bytes)
  if (document === undefined) return { invalid: 'the manifest is not a JSON object' }
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    return { invalid: 'the media type of the manifest is not the one it was sent with' }
  }
  if ((document.layers !== undefined || document.config !== undefined) && document.manifests !== undefined) {
    return { invalid: 'the manifest is an image and an index at once' }
  }
  const subject = (document.subject as { digest?: unknown } | null | undefined)?.digest
  return { children: childrenOf(document, shape), subject: isDigest(subject) ? subject : undefined }
}

export function isInvalid(content: ManifestContent | { invalid: string }): content is { invalid: string } {
  return 'invalid' in content
}

/** The media type without its parameters. */
export function essenceOf(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]!.trim().toLowerCase()
}

export function isManifestType(contentType: string | undefined): boolean {
  return shapeOf(essenceOf(contentType)) !== undefined
}

function shapeOf(mediaType: string): Shape | undefined {
  return Object.hasOwn(manifestTypes, mediaType)
    ? manifestTypes[mediaType as keyof typeof manifestTypes]
    : undefined
}

function childrenOf(document: Record<string, unknown>, shape: Shape): Descriptor[] {
  if (shape === 'index') return descriptors(document.manifests, 'manifest')
  if (shape === 'artifact') return descriptors(document.blobs, 'blob')
  return [...descriptors([document.config], 'blob'), ...descriptors(document.layers, 'blob')]
}

/** Those that are well-formed: another is the client's to complain of, since the bytes are its upstream's. */
function descriptors(list: unknown, kind: Descriptor['kind']): Descriptor[] {
  if (!Array.isArray(list)) return []
  return list.flatMap(
    (item: { digest?: unknown; size?: unknown; mediaType?: unknown } | null | undefined) => {
      const { digest, size, mediaType } = item ?? {}
      if (!isDigest(digest) || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) return []
      return [{ digest, kind, size, mediaType: typeof mediaType === 'string' ? mediaType.slice(0, 255) : '' }]
    },
  )
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
