import { hexOf } from '../../../proxy/oci/digest.ts'
import type { Descriptor } from '../content.ts'
import type { SampleImage } from '../images.ts'
import type { ClientPlan } from './client-process.ts'
import type { Get } from './lane.ts'

/** A pull as docker and containerd make it: the manifest by tag, then configuration and layers, three at a time. */
export function imagePull(prefix: string, image: SampleImage, { hash = false } = {}): ClientPlan {
  const { repository, tag, manifest, config, layers } = image
  const first = { path: `${prefix}/${repository}/manifests/${tag}`, size: manifest.size }
  const rest = [config, ...layers].map((blob) => blobGet(prefix, repository, blob, { hash }))
  return { first, rest, lanes: 3 }
}

export function blobGet(
  prefix: string,
  repository: string,
  { digest, size }: Descriptor,
  { hash = false, ...how }: { hash?: boolean } & Pick<Get, 'bytesPerSecond' | 'leaveAfter'> = {},
): Get {
  const path = `${prefix}/${repository}/blobs/${digest}`
  return { path, size, ...(hash && { sha256: hexOf(digest) }), ...how }
}

export function sizeOf({ manifest, config, layers }: SampleImage): number {
  return [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0)
}
