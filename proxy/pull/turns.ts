/** Resolves when it is one's turn. `left`: the bytes one has still to read, Infinity where nobody knows. */
export type Turns = (left: number) => Promise<void>

interface Waiter {
  readonly left: number
  readonly go: () => void
}

/**
 * Lets a few go on in each turn of the event loop. What each then does, a copy and a write, takes as long as the copying;
 * a hundred in a row would keep new connections waiting, of which the loop accepts one at a time.
 *
 * Half of a turn is for those with the least left, and the rest for those who have waited longest. Layers that are read
 * side by side then end one after the other instead of all at the end, and a client that takes a few at a time asks for
 * its next while the upstream still sends; and nobody waits for ever behind the small.
 */
export function createTurns(perTurn: number): Turns {
  let waiting: Waiter[] = []

  function next(): void {
    const going = chosen()
    for (const { go } of going) go()
    if (waiting.length > 0) setImmediate(next)
  }

  function chosen(): readonly Waiter[] {
    const all = waiting
    if (all.length <= perTurn) {
      waiting = []
      return all
    }
    const longest = all.slice(0, Math.ceil(perTurn / 2))
    const byLeft = all.slice(longest.length).sort((a, b) => a.left - b.left)
    const least = new Set(byLeft.slice(0, perTurn - longest.length))
    waiting = all.slice(longest.length).filter((one) => !least.has(one))
    return [...longest, ...least]
  }

  return (left) =>
    new Promise((go) => {
      if (waiting.push({ left, go }) === 1) setImmediate(next)
    })
}
