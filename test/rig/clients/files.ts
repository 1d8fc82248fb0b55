import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { Digest, DigestAlgorithm } from '../../../proxy/oci/digest.ts'
import { run } from '../process.ts'

/** The digests of all files below a folder, from their bytes and not from their names. */
export async function hashFiles(folder: string, algorithm: DigestAlgorithm = 'sha256'): Promise<Digest[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = found.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
  const digests: Digest[] = []
  for (const file of files) {
    const hash = createHash(algorithm)
    await pipeline(createReadStream(file, { highWaterMark: 1024 * 1024 }), hash)
    digests.push(`${algorithm}:${hash.digest('hex')}`)
  }
  return digests
}

/** Deletes what a daemon had, also where it left mounts behind. */
export async function removeWithMounts(folder: string): Promise<void> {
  const mounts = await readFile('/proc/self/mounts', 'utf8')
  const below = mounts.split('\n').flatMap((line) => line.split(' ')[1] ?? [])
  const ours = below.filter((path) => path.startsWith(`${folder}/`))
  for (const path of ours.reverse()) await run('umount', ['-l', path])
  await rm(folder, { recursive: true, force: true })
}
