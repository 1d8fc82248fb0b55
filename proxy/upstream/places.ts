/** How many may do something at a time. The others wait, first come first served. */
export interface Places {
  /** Resolves with what gives the place back. Rejects with the signal's reason where that comes first. */
  take(signal: AbortSignal): Promise<() => void>
}

export function createPlaces(count: number): Places {
  const waiting = new Set<() => void>()
  let free = count

  function give(): void {
    const [next] = waiting
    if (next === undefined) free += 1
    else {
      waiting.delete(next)
      next()
    }
  }

  return {
    async take(signal) {
      signal.throwIfAborted()
      if (free > 0) {
        free -= 1
        return give
      }
      return new Promise((resolve, reject) => {
        const turn = () => {
          signal.removeEventListener('abort', leave)
          resolve(give)
        }
        const leave = () => {
          waiting.delete(turn)
          reject(signal.reason)
        }
        signal.addEventListener('abort', leave, { once: true })
        waiting.add(turn)
      })
    },
  }
}
