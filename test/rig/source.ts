import { createCipheriv, createHash } from 'node:crypto'
import type { Digest, DigestAlgorithm } from '../../proxy/oci/digest.ts'

/** Bytes of a known size that can be read from any position, without holding them where they are generated. */
export interface Source {
  readonly size: number
  /** From `start` up to, not including, `end`, in pieces of at most 256 KiB. */
  read(start: number, end: number): Iterable<Buffer>
}

const pieceBytes = 256 * 1024

export function bytesSource(bytes: Uint8Array): Source {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return {
    size: buffer.length,
    *read(start, end) {
      for (let at = start; at < end; at += pieceBytes)
        yield buffer.subarray(at, Math.min(at + pieceBytes, end))
    },
  }
}

export function textSource(text: string): Source {
  return bytesSource(Buffer.from(text))
}

/** Incompressible bytes, the same for the same seed: a keystream, so that any range of gigabytes costs no memory. */
export function randomSource({ size, seed = 1 }: { size: number; seed?: number }): Source {
  const key = createHash('md5').update(`seed ${seed}`).digest()
  return {
    size,
    *read(start, end) {
      const skip = start % 16
      const iv = Buffer.alloc(16)
      iv.writeBigUInt64BE(BigInt((start - skip) / 16), 8)
      const stream = createCipheriv('aes-128-ctr', key, iv)
      if (skip > 0) stream.update(Buffer.alloc(skip))
      for (let at = start; at < end; at += pieceBytes) {
        yield stream.update(Buffer.alloc(Math.min(pieceBytes, end - at)))
      }
    },
  }
}

/** One byte for ever, as far as anybody reads: an answer that has no end. */
export function endlessSource(byte = 0x20): Source {
  const piece = Buffer.alloc(64 * 1024, byte)
  return {
    size: Number.POSITIVE_INFINITY,
    *read() {
      for (;;) yield piece
    },
  }
}

export function sourceDigest(source: Source, algorithm: DigestAlgorithm = 'sha256'): Digest {
  const hash = createHash(algorithm)
  for (const piece of source.read(0, source.size)) hash.update(piece)
  return `${algorithm}:${hash.digest('hex')}`
}

export function sourceBytes(source: Source): Buffer {
  return Buffer.concat([...source.read(0, source.size)])
}

export function concatSources(sources: readonly Source[]): Source {
  return {
    size: sources.reduce((sum, { size }) => sum + size, 0),
    *read(start, end) {
      let at = 0
      for (const source of sources) {
        const from = Math.max(start - at, 0)
        const to = Math.min(end - at, source.size)
        if (from < to) yield* source.read(from, to)
        at += source.size
      }
    },
  }
}
