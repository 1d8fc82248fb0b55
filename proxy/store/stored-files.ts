import type { Dir, Stats } from 'node:fs'
import { lstat, mkdir, opendir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, isDigest } from '../oci/digest.ts'
import { hasCode } from './durability.ts'

export interface StoredFile {
  readonly digest: Digest
  readonly stats: Stats
}

/** A temporary file that nobody may be writing any more; `modifiedAt` tells. */
export interface Leftover {
  readonly path: string
  readonly size: number
  readonly modifiedAt: number
}

/** Every blob below the folder; what is no blob by its name is passed over. */
export async function* listBlobFiles(root: string, folderSeen?: () => void): AsyncGenerator<StoredFile> {
  for (const algorithm of ['sha256', 'sha512']) {
    for await (const fan of names(join(root, algorithm))) {
      folderSeen?.()
      const folder = join(root, algorithm, fan)
      for await (const hex of names(folder)) {
        const digest = `${algorithm}:${hex}`
        const stats =
          isDigest(digest) && hex.startsWith(fan) ? await present(lstat(join(folder, hex))) : undefined
        if (stats?.isFile()) yield { digest: digest as Digest, stats }
      }
    }
  }
}

export async function* listLeftovers(folder: string): AsyncGenerator<Leftover> {
  for await (const name of names(folder)) {
    const path = join(folder, name)
    const stats = await present(lstat(path))
    if (stats) yield { path, size: stats.size, modifiedAt: stats.mtimeMs }
  }
}

/** A folder for temporary files: takes away what an earlier process left unfinished. */
export async function makeEmpty(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  for await (const name of names(folder)) await rm(join(folder, name), { recursive: true, force: true })
}

/** None when it is no folder, or no more. */
async function* names(folder: string): AsyncGenerator<string> {
  const dir: Dir | undefined = await present(opendir(folder, { bufferSize: 256 }))
  if (!dir) return
  for await (const { name } of dir) yield name
}

/** Undefined for what is not there. */
export async function present<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found
  } catch (error) {
    if (hasCode(error, 'ENOENT', 'ENOTDIR')) return undefined
    throw error
  }
}
