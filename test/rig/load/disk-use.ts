import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import { temporaryFolder } from '../headwater.ts'

export interface MeasuredFolder extends AsyncDisposable {
  readonly path: string
  /** Bytes on disk, and of files that have no name any more but are open. */
  use(): number
}

/**
 * A folder whose use can be had at one moment: a file system of its own, where that may be mounted. Elsewhere it is
 * counted as `du` does, while files come and go.
 */
export async function measuredFolder(megabytes: number): Promise<MeasuredFolder> {
  const path = await temporaryFolder()
  const mounted = process.getuid?.() === 0
  if (mounted) execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', path])
  const ofFileSystem = () => {
    const { blocks, bfree, bsize } = statfsSync(path)
    return (blocks - bfree) * bsize
  }
  return {
    path,
    use: mounted ? ofFileSystem : () => countedUse(path, new Set()),
    async [Symbol.asyncDispose]() {
      if (mounted) execFileSync('umount', ['-l', path])
    },
  }
}

/** What disappears meanwhile counts for nothing, what is renamed meanwhile once. */
function countedUse(path: string, seen: Set<number>): number {
  const stats = lstatSync(path, { throwIfNoEntry: false })
  if (stats === undefined || seen.has(stats.ino)) return 0
  seen.add(stats.ino)
  const own = stats.blocks * 512
  if (!stats.isDirectory()) return own
  return readdirSync(path).reduce((sum, name) => sum + countedUse(join(path, name), seen), own)
}

/** Looks again and again until `stop`, which gives the highest of `measure`. */
export function watchHighest(
  measure: () => Promise<number> | number,
  everyMs = 5,
): { stop(): Promise<number> } {
  let stopped = false
  let highest = 0
  const watching = (async () => {
    while (!stopped) {
      highest = Math.max(highest, await measure())
      await new Promise((resolve) => setTimeout(resolve, everyMs))
    }
  })()
  return {
    async stop() {
      stopped = true
      await watching
      return Math.max(highest, await measure())
    },
  }
}
