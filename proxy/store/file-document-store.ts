import { createHash, randomUUID } from 'node:crypto'
import { open, opendir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { NoRoomError } from './blob-store.ts'
import { bytesOnDisk, createDiskBudget, type DiskBudget, folderBytes } from './disk-budget.ts'
import {
  checkDocumentKey,
  type DocumentStore,
  maxDocumentBytes,
  type PutCondition,
  type StoredDocument,
} from './document-store.ts'
import { asNoRoom, createDurability, hasCode, makeRoot, syncFolder } from './durability.ts'
import { createKeyedLock } from './keyed-lock.ts'
import { type Leftover, listLeftovers, makeEmpty, present, takeInventory } from './stored-files.ts'

export interface FileDocumentStore extends DocumentStore {
  /** Temporary files, of puts under way too: only their age tells. */
  leftovers(): AsyncIterable<Leftover>
}

/**
 * Documents as files whose paths are their keys. A document is written into `.tmp`, synced, and renamed. Preconditions
 * hold within one process, which has the folder to itself. Throws NoRoomError when the disk or the budget is full.
 */
export async function createFileDocumentStore({
  root: folder,
  budget = createDiskBudget({ maxBytes: undefined }),
  owner = true,
}: {
  root: string
  budget?: DiskBudget
  /** False for one who only looks, beside a process that writes. */
  owner?: boolean
}): Promise<FileDocumentStore> {
  const root = owner ? await makeRoot(folder) : resolve(folder)
  const temporary = join(root, '.tmp')
  const durability = createDurability({ root, folderMade: () => budget.charge(folderBytes) })
  const locked = createKeyedLock()

  if (owner) await makeEmpty(temporary)
  if (budget.limited) {
    for (const { stats } of takeInventory(root)) {
      budget.charge(stats.isDirectory() ? folderBytes : bytesOnDisk(stats.size))
    }
  }

  async function get(key: string): Promise<StoredDocument | undefined> {
    try {
      const body = await readFile(join(root, pathOf(key)), 'utf8')
      return { body, etag: etagOf(body) }
    } catch (error) {
      if (hasCode(error, 'ENOENT', 'ENOTDIR', 'EISDIR')) return undefined
      throw error
    }
  }

  async function holds(key: string, condition: PutCondition | undefined): Promise<boolean> {
    if (condition === undefined) return true
    const present = await get(key)
    return 'ifAbsent' in condition ? present === undefined : present?.etag === condition.ifMatch
  }

  async function write(path: string, body: string, bytes: number): Promise<void> {
    const from = join(temporary, randomUUID())
    let placed = false
    try {
      await using file = await open(from, 'wx', 0o600)
      await file.writeFile(body)
      await durability.syncFile(file.fd)
      const before = budget.limited ? await present(stat(path)) : undefined
      await durability.moveInto(from, path, () => {
        placed = true
        if (before) budget.charge(-bytesOnDisk(before.size))
      })
    } catch (error) {
      if (!placed) {
        budget.charge(-bytes)
        await rm(from, { force: true })
      }
      throw asNoRoom(error)
    }
  }

  return {
    get,

    put(key, body, condition) {
      return locked(key, async () => {
        const path = join(root, pathOf(key))
        const size = Buffer.byteLength(body)
        if (size > maxDocumentBytes) throw new Error(`a document of ${size} bytes is too large`)
        if (!(await holds(key, condition))) return false
        const bytes = bytesOnDisk(size)
        if (!(await budget.take(bytes))) throw new NoRoomError('the limit of bytes on disk is reached')
        await write(path, body, bytes)
        return true
      })
    },

    async *list(prefix) {
      if (prefix !== '') checkDocumentKey(prefix.slice(0, -1))
      const start = prefix === '' ? '' : `${pathOf(prefix.slice(0, -1))}/`
      for await (const path of walk(root, start)) {
        const key = keyOf(path)
        if (key !== undefined) yield key
      }
    },

    delete(key) {
      return locked(key, async () => {
        const path = join(root, pathOf(key))
        const before = await present(stat(path))
        if (!before) return
        await rm(path, { force: true })
        if (budget.limited) budget.charge(-bytesOnDisk(before.size))
        await syncFolder(dirname(path))
      })
    },

    leftovers: () => listLeftovers(temporary),
  }
}

/** Paths of the files below, depth first: what it holds at a time is one open folder for each level. */
async function* walk(root: string, prefix: string): AsyncGenerator<string> {
  const folder = await present(opendir(join(root, prefix), { bufferSize: 256 }))
  if (!folder) return
  for await (const entry of folder) {
    if (entry.name.startsWith('.')) continue
    const path = `${prefix}${entry.name}`
    if (entry.isDirectory()) yield* walk(root, `${path}/`)
    else yield path
  }
}

function etagOf(body: string): string {
  return createHash('sha256').update(body).digest('hex').slice(0, 32)
}

function pathOf(key: string): string {
  checkDocumentKey(key)
  return key.split('/').map(fileName).join('/')
}

/**
 * Two tags may differ in nothing but case, and some file systems (macOS's) do not tell them apart: a name with capitals
 * is kept in small letters with `=` and, as bits in hex, where its capitals are.
 */
function fileName(component: string): string {
  const small = component.toLowerCase()
  if (small === component) return component
  let capitals = 0n
  for (let at = 0; at < component.length; at += 1) {
    if (component[at] !== small[at]) capitals |= 1n << BigInt(at)
  }
  return `${small}=${capitals.toString(16)}`
}

/** Undefined for a file that no key leads to. */
function keyOf(path: string): string | undefined {
  const key = path.split('/').map(componentOf).join('/')
  try {
    return pathOf(key) === path ? key : undefined
  } catch {
    return undefined
  }
}

function componentOf(name: string): string {
  const [small = '', hex] = name.split('=')
  if (hex === undefined || !/^[0-9a-f]{1,32}$/.test(hex)) return name
  const capitals = BigInt(`0x${hex}`)
  return [...small]
    .map((letter, at) => ((capitals >> BigInt(at)) & 1n ? letter.toUpperCase() : letter))
    .join('')
}
