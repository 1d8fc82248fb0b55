import { type Dir, lstatSync, readdirSync, type Stats } from 'node:fs'
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
export async function* listBlobFiles(root: string): AsyncGenerator<StoredFile> {
  for (const algorithm of ['sha256', 'sha512']) {
    for await (const fan of names(join(root, algorithm))) {
      const folder = join(root, algorithm, fan)
      for await (const hex of names(folder)) {
        const digest = digestAt(`${algorithm}/${fan}/${hex}`)
        const stats = digest && (await present(lstat(join(folder, hex))))
        if (digest && stats?.isFile()) yield { digest, stats }
      }
    }
  }
}

/** Undefined for a path at which no blob is kept. */
export function digestAt(path: string): Digest | undefined {
  const [algorithm, fan = '', hex = '', ...more] = path.split('/')
  const digest = `${algorithm}:${hex}`
  return isDigest(digest) && hex.startsWith(fan) && more.length === 0 ? digest : undefined
}

/**
 * Everything below the folder but what begins with a dot, with its path in it. For a start, when nobody waits: it is many
 * times faster than to ask for each file in turn, 100,000 in about a second.
 */
export function* takeInventory(root: string, prefix = ''): Generator<{ path: string; stats: Stats }> {
  for (const name of readdirSync(join(root, prefix))) {
    if (name.startsWith('.')) continue
    const path = `${prefix}${name}`
    const stats = lstatSync(join(root, path), { throwIfNoEntry: false })
    if (!stats) continue
    yield { path, stats }
    if (stats.isDirectory()) yield* takeInventory(root, `${path}/`)
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
