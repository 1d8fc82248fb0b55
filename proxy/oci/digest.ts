import { createHash, type Hash } from 'node:crypto'
import { OciError } from './errors.ts'

export type DigestAlgorithm = 'sha256' | 'sha512'

/** Obtained by `parseDigest` or `digestOf` alone, so that a digest in a path or a key is always one that was checked. */
export type Digest = `${DigestAlgorithm}:${string}`

const pattern = /^(?:sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128})$/

/** The registered algorithms of the image specification, lower-case hex. Throws DIGEST_INVALID. */
export function parseDigest(text: string): Digest {
  if (!isDigest(text)) throw new OciError('DIGEST_INVALID', { detail: { digest: text.slice(0, 200) } })
  return text
}

export function isDigest(text: unknown): text is Digest {
  return typeof text === 'string' && text.length <= 135 && pattern.test(text)
}

export function algorithmOf(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha512:') ? 'sha512' : 'sha256'
}

export function hexOf(digest: Digest): string {
  return digest.slice(7)
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = 'sha256'): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** A running hash of the digest's own algorithm. */
export function hasherFor(digest: Digest): Hash {
  return createHash(algorithmOf(digest))
}
