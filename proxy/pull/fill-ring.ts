/**
 * The latest bytes of a blob on its way, in one piece of memory however small the chunks they came in. A byte's
 * position in the blob is its name; what is older than the capacity is overwritten.
 */
export interface Ring {
  readonly capacity: number
  /** The oldest position still held. */
  readonly start: number
  /** Behind the latest byte. */
  readonly end: number
  push(chunk: Uint8Array): void
  /** Moves the end on over bytes that nobody will ask for. */
  skip(length: number): void
  /** `position` and `position + length` lie between `start` and `end`. */
  copy(target: Uint8Array, position: number, length: number): void
  /** The bytes in between as they lie in memory: good until they are overwritten. */
  parts(from: number, to: number): Uint8Array[]
  /** Frees the memory: nothing is held any more, and nothing may be pushed. */
  drop(): void
}

export function createRing(capacity: number): Ring {
  let memory = Buffer.allocUnsafeSlow(capacity)
  let start = 0
  let end = 0

  const moveTo = (next: number) => {
    end = next
    start = Math.max(start, end - capacity)
  }

  return {
    capacity,
    get start() {
      return start
    },
    get end() {
      return end
    },
    push(chunk) {
      const latest = chunk.length > capacity ? chunk.subarray(chunk.length - capacity) : chunk
      const at = (end + chunk.length - latest.length) % capacity
      const fits = capacity - at
      if (latest.length <= fits) {
        memory.set(latest, at)
      } else {
        memory.set(latest.subarray(0, fits), at)
        memory.set(latest.subarray(fits), 0)
      }
      moveTo(end + chunk.length)
    },
    skip(length) {
      moveTo(end + length)
      start = end
    },
    copy(target, position, length) {
      const at = position % capacity
      const fits = Math.min(length, capacity - at)
      memory.copy(target, 0, at, at + fits)
      if (fits < length) memory.copy(target, fits, 0, length - fits)
    },
    parts(from, to) {
      const at = from % capacity
      const fits = Math.min(to - from, capacity - at)
      const first = memory.subarray(at, at + fits)
      return from + fits === to ? [first] : [first, memory.subarray(0, to - from - fits)]
    },
    drop() {
      memory = Buffer.alloc(0)
      start = end
    },
  }
}
