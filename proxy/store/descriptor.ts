import { close, read } from 'node:fs'

/**
 * An open file that is closed only after what runs on it has ended: a number closed under a running read may by then
 * name another file, and the read would give that one's bytes. Plain numbers, since a `FileHandle` costs more to open.
 */
export interface Descriptor {
  /** Up to `length` bytes from `position`. */
  read(buffer: Uint8Array, length: number, position: number): Promise<number>
  /** Keeps the file open until the work has ended. */
  during<T>(work: (fd: number) => Promise<T>): Promise<T>
  /** Resolves when the file is closed. Safe to repeat. */
  close(): Promise<void>
}

export function createDescriptor(fd: number): Descriptor {
  let running = 0
  let closed: Promise<void> | undefined
  let closeNow: (() => void) | undefined

  function begin(): void {
    if (closed) throw new Error('the file is closed')
    running += 1
  }

  function end(): void {
    running -= 1
    if (running === 0) closeNow?.()
  }

  return {
    read(buffer, length, position) {
      begin()
      return new Promise((resolve, reject) => {
        read(fd, buffer, 0, length, position, (error, bytesRead) => {
          end()
          if (error) reject(error)
          else resolve(bytesRead)
        })
      })
    },

    async during(work) {
      begin()
      try {
        return await work(fd)
      } finally {
        end()
      }
    },

    close() {
      closed ??= new Promise((resolve) => {
        closeNow = () => close(fd, () => resolve())
        if (running === 0) closeNow()
      })
      return closed
    },
  }
}
