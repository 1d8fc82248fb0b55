import { fsync, type NoParamCallback } from 'node:fs'
import { mkdir, open, rename } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { NoRoomError } from './blob-store.ts'
import { createGate } from './gate.ts'

/** What must be on the disk before anybody builds on it. */
export interface Durability {
  /** Syncs at most a few files at a time: a sync of much data holds a thread that reads wait for. */
  syncFile(fd: number): Promise<void>
  /**
   * Renames and syncs the target's folder, which is made (and synced into its parent) where it is missing. `placed`
   * runs as soon as the file has its new name: from then on it is there, even if the sync after it fails.
   */
  moveInto(from: string, to: string, placed?: () => void): Promise<void>
}

export function createDurability({
  root,
  folderMade,
}: {
  /** Exists. Folders are made only below it. */
  root: string
  folderMade?: (() => void) | undefined
}): Durability {
  const gate = createGate(2)
  /** Folders whose own entry is not known to be durable yet. */
  const making = new Map<string, Promise<void>>()

  function ensure(folder: string): Promise<void> {
    const running = making.get(folder)
    if (running || folder === root) return running ?? Promise.resolve()
    const made = make(folder).finally(() => making.delete(folder))
    making.set(folder, made)
    return made
  }

  async function make(folder: string): Promise<void> {
    await ensure(dirname(folder))
    try {
      await mkdir(folder, { mode: 0o700 })
      folderMade?.()
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error
    }
    await syncFolder(dirname(folder))
  }

  /** A folder may be there and its entry still on the way to the disk, by the hand of another who is writing. */
  async function madeByOthers(folder: string): Promise<void> {
    if (making.size === 0) return
    for (let path = folder; path.length > root.length; path = dirname(path)) await making.get(path)
  }

  async function openFolder(folder: string) {
    await madeByOthers(folder)
    try {
      return await open(folder, 'r')
    } catch (error) {
      if (!hasCode(error, 'ENOENT')) throw error
    }
    await ensure(folder)
    return await open(folder, 'r')
  }

  return {
    syncFile: (fd) => gate(() => call((done) => fsync(fd, done))),

    async moveInto(from, to, placed) {
      // Opened before the rename: when descriptors run out, it fails with nothing changed.
      await using folder = await openFolder(dirname(to))
      await rename(from, to)
      placed?.()
      await gate(() => folder.sync())
    },
  }
}

/** Makes a store's own folder, with all that is missing above it. */
export async function makeRoot(path: string): Promise<string> {
  const root = resolve(path)
  const first = await mkdir(root, { recursive: true, mode: 0o700 })
  if (first === undefined) return root
  const top = dirname(first)
  for (let folder = dirname(root); folder.length >= top.length; folder = dirname(folder)) {
    await syncFolder(folder)
    if (folder === dirname(folder)) break
  }
  return root
}

export async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r')
  await folder.sync()
}

/** For the calls of `node:fs` that have no form with a bare descriptor in `node:fs/promises`. */
export function call(start: (done: NoParamCallback) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())))
}

export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && codes.includes((error as NodeJS.ErrnoException).code ?? '')
}

/** A full disk, a full quota and too few inodes are all the same to the caller: go on without storing. */
export function asNoRoom(error: unknown): unknown {
  return hasCode(error, 'ENOSPC', 'EDQUOT') ? new NoRoomError('the disk is full', { cause: error }) : error
}
