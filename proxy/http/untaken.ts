import type { ServerResponse } from 'node:http'

/** Counts the bytes of bodies made for one client alone, which stay in memory until that client has taken them. */
export interface Untaken {
  /** False where that would be more than there may be: then it is not to be sent. */
  add(response: ServerResponse, bytes: number): boolean
}

/** One body is let through, however long. */
export function createUntaken(most: number): Untaken {
  let total = 0

  return {
    add(response, bytes) {
      if (response.destroyed) return true // nothing of it is kept
      if (total > 0 && total + bytes > most) return false
      total += bytes
      response.once('close', () => {
        total -= bytes
      })
      return true
    },
  }
}
