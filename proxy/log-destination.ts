import { mkdirSync, openSync, write, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** Where the lines of the log go: written off the path, in order. */
export interface LogDestination {
  write(text: string): void
  /** Resolves when what was written so far is with the system, or lost. */
  flush(): Promise<void>
  /** For the end of the process. */
  flushSync(): void
}

const maxQueuedLength = 32 * 1024 * 1024
const retryMs = 50
const maxSyncTries = 20

/**
 * A descriptor, or a file that is appended to and made where it is not there; throws when it cannot be. A full disk or a
 * closed pipe costs the lines of that time, and a stuck one those beyond the queue: never the process.
 */
export function openLogDestination(where: number | string): LogDestination {
  const fd = typeof where === 'number' ? where : openFile(where)
  let queue: string[] = []
  let queued = 0
  let writing = false
  let idle: (() => void)[] = []

  function next(): void {
    const bytes = Buffer.from(queue.join(''))
    queue = []
    queued = 0
    writing = bytes.length > 0
    if (writing) {
      push(bytes)
      return
    }
    const waiting = idle
    idle = []
    for (const resolve of waiting) resolve()
  }

  function push(bytes: Buffer): void {
    write(fd, bytes, 0, bytes.length, null, (error, written) => {
      if (error !== null && isBusy(error)) setTimeout(() => push(bytes), retryMs).unref()
      else if (error === null && written < bytes.length) push(bytes.subarray(written))
      else next()
    })
  }

  return {
    write(text) {
      if (queued + text.length > maxQueuedLength) return
      queue.push(text)
      queued += text.length
      if (!writing) next()
    },
    flush: () =>
      new Promise((resolve) => {
        if (writing) idle.push(resolve)
        else resolve()
      }),
    flushSync() {
      const bytes = Buffer.from(queue.join(''))
      queue = []
      queued = 0
      writeAllSync(fd, bytes)
    },
  }
}

function openFile(path: string): number {
  mkdirSync(dirname(path), { recursive: true })
  return openSync(path, 'a', 0o640)
}

function isBusy(error: NodeJS.ErrnoException): boolean {
  return error.code === 'EAGAIN' || error.code === 'EBUSY'
}

function writeAllSync(fd: number, bytes: Buffer): void {
  for (let done = 0, tries = 0; done < bytes.length && tries < maxSyncTries; ) {
    try {
      done += writeSync(fd, bytes, done)
    } catch (error) {
      if (!isBusy(error as NodeJS.ErrnoException)) return
      tries += 1
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, retryMs)
    }
  }
}
