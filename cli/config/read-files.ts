import { type BigIntStats, constants } from 'node:fs'
import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'

export interface ConfigurationFile {
  readonly path: string
  readonly text: string
}

export interface ReadFiles {
  readonly files: readonly ConfigurationFile[]
  readonly problems: readonly string[]
}

const maxFiles = 1000
const maxFileBytes = 1024 * 1024
const maxTotalBytes = 16 * 1024 * 1024

/** Each path is a file, or a folder whose *.yaml and *.yml are read in lexical order, hidden ones and folders left out. */
export async function readFiles(paths: readonly string[]): Promise<ReadFiles> {
  const listings = await Promise.all(paths.map(listFiles))
  const problems = listings.map(({ problem }) => problem).filter((problem) => problem !== undefined)
  const listed = listings.flatMap(({ files }) => files)
  const files: ConfigurationFile[] = []
  let total = 0
  for (const path of listed) {
    const { text, problem } = await readText(path)
    if (problem !== undefined) problems.push(`${path}: ${problem}`)
    if (text === undefined) continue
    total += text.length
    if (total > maxTotalBytes || files.length === maxFiles) {
      problems.push(`${path}: too much configuration: at most ${limits}`)
      break
    }
    files.push({ path, text })
  }
  return { files, problems }
}

const limits = `${maxFiles} files and 16 MiB in all`

/**
 * Changes whenever a file may have changed, was added or went away: what `stat` says of each, symbolic links followed.
 * Cheap enough to be asked every few seconds.
 */
export async function signatureOf(paths: readonly string[]): Promise<string> {
  const lines: string[] = []
  for (const path of paths) {
    const { files, problem } = await listFiles(path)
    lines.push(problem ?? '')
    for (const file of files.slice(0, maxFiles)) lines.push(`${file} ${await describe(file)}`)
  }
  return lines.join('\n')
}

async function describe(file: string): Promise<string> {
  const found = await stat(file, { bigint: true }).catch(codeOf)
  if (typeof found === 'string') return found
  const { dev, ino, size, mtimeNs, ctimeNs } = found
  return [dev, ino, size, mtimeNs, ctimeNs].join(' ')
}

async function listFiles(path: string): Promise<{ files: string[]; problem?: string }> {
  const found: BigIntStats | string = await stat(path, { bigint: true }).catch(codeOf)
  if (typeof found === 'string') return { files: [], problem: `${path}: ${found}` }
  if (!found.isDirectory()) return { files: [path] }

  const names = await readdir(path).catch(codeOf)
  if (typeof names === 'string') return { files: [], problem: `${path}: ${names}` }
  const chosen = names.filter((name) => /^[^.].*\.ya?ml$/.test(name)).toSorted()
  if (chosen.length === 0) return { files: [], problem: `${path}: no *.yaml or *.yml file in this folder` }
  return { files: chosen.map((name) => join(path, name)) }
}

async function readText(path: string): Promise<{ text?: string; problem?: string }> {
  // a named pipe would otherwise wait for a writer
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(codeOf)
  if (typeof file === 'string') return { problem: file }
  try {
    const found = await file.stat()
    if (!found.isFile()) return { problem: 'neither a file nor a folder of the configuration' }
    const buffer = Buffer.alloc(maxFileBytes + 1)
    let length = 0
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length)
      if (bytesRead === 0) break
      length += bytesRead
    }
    if (length > maxFileBytes) return { problem: 'larger than 1 MiB' }
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, length)) }
  } catch (error) {
    return { problem: error instanceof TypeError ? 'not text in UTF-8' : codeOf(error) }
  } finally {
    await file.close()
  }
}

function codeOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  switch (code) {
    case 'ENOENT':
      return 'no such file or folder'
    case 'EACCES':
      return 'permission denied'
    case undefined:
      throw error
    default:
      return `cannot be read (${code})`
  }
}
