import type { Digest } from '../oci/digest.ts'

/**
 * Which blobs are there, in the order of their last use, and which are open: what eviction needs. Kept only under a limit
 * of bytes, which bounds it too: about 300 bytes of memory a blob, so 100,000 blobs cost 30 MB.
 */
export interface BlobLedger {
  /** As the one used last. Gives the one it takes the place of. */
  add(digest: Digest, bytes: number): { readonly held: HeldBlob; readonly replaced: HeldBlob | undefined }
  /** Counts as a use. */
  hold(digest: Digest): HeldBlob | undefined
  release(held: HeldBlob): void
  has(digest: Digest): boolean
  /** `only` if it is this one. */
  remove(digest: Digest, only?: HeldBlob): HeldBlob | undefined
  /** Takes out the one that was used longest ago among those that are not open. */
  takeOldest(): HeldBlob | undefined
  /** Bytes of those that are not open. */
  evictable(): number
}

export interface HeldBlob {
  readonly digest: Digest
  /** On disk. */
  readonly bytes: number
  open: number
  /** No longer under its digest; its bytes are in use until it is closed. */
  removed: boolean
}

export function createBlobLedger({ freed }: { freed: (bytes: number) => void }): BlobLedger {
  /** A Map keeps the order of insertion: the first is the one used longest ago. */
  const blobs = new Map<Digest, HeldBlob>()
  let evictable = 0

  function remove(digest: Digest, only?: HeldBlob): HeldBlob | undefined {
    const held = blobs.get(digest)
    if (!held || (only && only !== held)) return undefined
    blobs.delete(digest)
    held.removed = true
    if (held.open === 0) evictable -= held.bytes
    return held
  }

  return {
    evictable: () => evictable,
    has: (digest) => blobs.has(digest),
    remove,

    add(digest, bytes) {
      const replaced = remove(digest)
      const held = { digest, bytes, open: 0, removed: false }
      blobs.set(digest, held)
      evictable += bytes
      return { held, replaced }
    },

    hold(digest) {
      const held = blobs.get(digest)
      if (!held) return undefined
      blobs.delete(digest)
      blobs.set(digest, held)
      if (held.open === 0) evictable -= held.bytes
      held.open += 1
      return held
    },

    release(held) {
      held.open -= 1
      if (held.open > 0) return
      if (held.removed) freed(held.bytes)
      else evictable += held.bytes
    },

    takeOldest() {
      for (const held of blobs.values()) {
        if (held.open === 0) return remove(held.digest)
      }
      return undefined
    },
  }
}
