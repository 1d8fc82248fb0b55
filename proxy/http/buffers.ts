/**
 * Lends the buffers that bodies are copied through. Nobody waits for one: a reader may keep its own for as long as its
 * client is slow.
 */
export interface Buffers {
  take(): Buffer
  give(buffer: Buffer): void
}

export interface BufferTier {
  readonly size: number
  readonly count: number
}

const kib = 1024

/** Large buffers while there are few readers, since a read costs a trip to another thread: 96 MiB for 1,440 readers. */
export const defaultTiers: readonly BufferTier[] = [
  { size: 1024 * kib, count: 32 },
  { size: 256 * kib, count: 128 },
  { size: 64 * kib, count: 256 },
  { size: 16 * kib, count: 1024 },
]

/** For whoever comes when all others are lent: no more than there may be connections. */
const smallest = 4 * kib

export function createBuffers(tiers: readonly BufferTier[] = defaultTiers): Buffers {
  const shelves = tiers.map(({ size, count }) => ({ size, left: count, idle: [] as Buffer[] }))

  return {
    take() {
      const shelf = shelves.find(({ left }) => left > 0)
      if (shelf === undefined) return Buffer.allocUnsafeSlow(smallest)
      shelf.left -= 1
      return shelf.idle.pop() ?? Buffer.allocUnsafeSlow(shelf.size)
    },

    give(buffer) {
      const shelf = shelves.find(({ size }) => size === buffer.length)
      if (shelf === undefined) return
      shelf.left += 1
      shelf.idle.push(buffer)
    },
  }
}
