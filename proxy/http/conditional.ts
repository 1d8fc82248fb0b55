import type { Digest } from '../oci/digest.ts'

export function etagOf(digest: Digest): string {
  return `"${digest}"`
}

/** `If-None-Match` (RFC 9110, 13.1.2): compared weakly, as what is addressed by digest never changes. */
export function isNotModified(header: string | undefined, digest: Digest): boolean {
  if (header === undefined) return false
  if (header.trim() === '*') return true
  const etag = etagOf(digest)
  return header.split(',').some((listed) => listed.trim().replace(/^W\//, '') === etag)
}

/** `If-Range` (RFC 9110, 13.1.5): compared strongly. A date never matches, since none is sent. */
export function rangeApplies(ifRange: string | undefined, digest: Digest): boolean {
  return ifRange === undefined || ifRange.trim() === etagOf(digest)
}
