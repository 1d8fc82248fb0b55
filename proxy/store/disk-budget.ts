/**
 * What the stores of one folder may use of its disk together: blobs, unfinished fills, documents and the index. Room is
 * taken before it is used, so that the folder never grows beyond the limit; when there is none left, blobs are evicted.
 */
export interface DiskBudget {
  /** Without a limit everything fits, and is only counted. */
  readonly limited: boolean
  /** False when there is no room, also after evicting; then nothing was evicted for it. */
  take(bytes: number): Promise<boolean>
  /** Counts what is there already; negative gives back. */
  charge(bytes: number): void
  /** Evicts until the limit holds, as far as that goes. */
  trim(): Promise<void>
  used(): number
  evictWith(evictor: Evictor): void
}

export interface Evictor {
  /** Bytes of all that could be evicted now. */
  evictable(): number
  /** Evicts one and gives its bytes back. False when there is nothing that may be. */
  evictOne(): Promise<boolean>
}

const blockSize = 4096
const nameBytes = 128

/** What a file of this size takes on most file systems: whole blocks, and its name in its folder. */
export function bytesOnDisk(size: number): number {
  return Math.max(1, Math.ceil(size / blockSize)) * blockSize + nameBytes
}

/** What an empty folder takes. */
export const folderBytes = blockSize + nameBytes

export function createDiskBudget({ maxBytes }: { maxBytes: number | undefined }): DiskBudget {
  let used = 0
  let evictor: Evictor | undefined
  let turn: Promise<unknown> = Promise.resolve()
  let waiting = 0
  const limit = maxBytes ?? Number.POSITIVE_INFINITY

  /** One at a time, or one taker would use up what is evicted for another. */
  async function inTurn<T>(work: () => Promise<T>): Promise<T> {
    waiting += 1
    const run = turn.then(work)
    turn = run.catch(() => undefined)
    try {
      return await run
    } finally {
      waiting -= 1
    }
  }

  async function makeRoom(bytes: number): Promise<boolean> {
    while (used + bytes > limit) {
      if (!(await evictor?.evictOne())) return false
    }
    return true
  }

  return {
    limited: maxBytes !== undefined,
    used: () => used,

    async take(bytes) {
      const take = () => {
        used += bytes
        return true
      }
      if (used + bytes <= limit && waiting === 0) return take()
      return inTurn(async () => {
        if (used + bytes - (evictor?.evictable() ?? 0) > limit) return false
        return (await makeRoom(bytes)) && take()
      })
    },

    charge(bytes) {
      used += bytes
    },

    async trim() {
      await inTurn(() => makeRoom(0))
    },

    evictWith(next) {
      evictor = next
    },
  }
}
