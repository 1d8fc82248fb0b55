/** Resolves when it is one's turn, first come first served. */
export type Turns = () => Promise<void>

/**
 * Lets a few go on in each turn of the event loop. What each then does, a copy and a write, takes as long as the copying;
 * a hundred in a row would keep new connections waiting, of which the loop accepts one at a time.
 */
export function createTurns(perTurn: number): Turns {
  let waiting: (() => void)[] = []

  function next(): void {
    const rest = waiting.slice(perTurn)
    const going = waiting.slice(0, perTurn)
    waiting = rest
    for (const go of going) go()
    if (rest.length > 0) setImmediate(next)
  }

  return () =>
    new Promise((resolve) => {
      if (waiting.push(resolve) === 1) setImmediate(next)
    })
}
