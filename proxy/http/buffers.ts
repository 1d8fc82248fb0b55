/** Lends the buffers that bodies are copied through. What is lent and kept never exceeds the sum of the tiers. */
export interface Buffers {
  /** Waits, first come first served, when all are lent. `signal` gives up the place: then undefined. */
  take(signal: AbortSignal): Promise<Buffer | undefined>
  give(buffer: Buffer): void
}

export interface BufferTier {
  readonly size: number
  readonly count: number
}

const kib = 1024

/** Large buffers while there are few readers, since a read costs a trip to another thread: 96 MiB for 1,632 readers. */
export const defaultTiers: readonly BufferTier[] = [
  { size: 1024 * kib, count: 32 },
  { size: 256 * kib, count: 128 },
  { size: 64 * kib, count: 256 },
  { size: 16 * kib, count: 1024 },
]

export function createBuffers(tiers: readonly BufferTier[] = defaultTiers): Buffers {
  const shelves = tiers.map(({ size, count }) => ({ size, left: count, idle: [] as Buffer[] }))
  const waiting = new Set<(buffer: Buffer) => void>()

  function lend(): Buffer | undefined {
    const shelf = shelves.find(({ left }) => left > 0)
    if (shelf === undefined) return undefined
    shelf.left -= 1
    return shelf.idle.pop() ?? Buffer.allocUnsafeSlow(shelf.size)
  }

  return {
    async take(signal) {
      const lent = lend()
      if (lent !== undefined || signal.aborted) return lent
      return await new Promise((resolve) => {
        const served = (buffer: Buffer | undefined) => {
          signal.removeEventListener('abort', gone)
          resolve(buffer)
        }
        const gone = () => {
          waiting.delete(served)
          resolve(undefined)
        }
        signal.addEventListener('abort', gone, { once: true })
        waiting.add(served)
      })
    },

    give(buffer) {
      const [next] = waiting
      if (next !== undefined) {
        waiting.delete(next)
        next(buffer)
        return
      }
      const shelf = shelves.find(({ size }) => size === buffer.length)
      if (shelf === undefined) return
      shelf.left += 1
      shelf.idle.push(buffer)
    },
  }
}
