import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** An empty folder that goes with the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-store-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

export const noObserver = { spoolBytes: () => {}, storedBytes: () => {}, evicted: () => {} }

/** Bytes in use below the folder, as `du` counts them. */
export async function blocksBelow(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder, { recursive: true })) {
    const stats = await stat(join(folder, name)).catch(() => undefined)
    bytes += stats ? stats.blocks * 512 : 0
  }
  return bytes
}
