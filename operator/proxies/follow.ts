import { createReflector, type Source } from '../runtime/reflector.ts'
import { observeSlice, urlsOf } from './endpoints.ts'
import type { Fleet } from './fleet.ts'
import { type ReadStateOptions, readState } from './read-state.ts'

export interface FollowOptions {
  readonly fleet: Fleet
  readonly sign: ReadStateOptions['sign']
  /** The EndpointSlices of the proxies' Service; undefined where there is none to look at. */
  readonly slices: Source | undefined
  /** Proxies that are there in any case, by the URLs of their internal listeners. */
  readonly urls: readonly string[]
  /** Told when a proxy begins to be in trouble, and when it is over. */
  onTrouble?(url: string, trouble: string | undefined): void
  onFailure?(source: string, error: unknown): void
  onRecovery?(source: string): void
}

/** Keeps the fleet as the proxies are until the signal is aborted. */
export async function followProxies(options: FollowOptions, signal: AbortSignal): Promise<void> {
  const { fleet, slices, urls } = options
  const readers = createReaders(options, signal)
  try {
    if (slices === undefined) {
      readers.set(urls)
      await whenAborted(signal)
      return
    }
    const reflector = createReflector({
      source: slices,
      transform: observeSlice,
      onFailure: (error) => {
        options.onFailure?.(slices.name, error)
        fleet.setUnread(slices.name)
      },
      onRecovery: () => options.onRecovery?.(slices.name),
    })
    const set = () => {
      if (reflector.isSynced) readers.set([...new Set([...urls, ...urlsOf(reflector.store.values())])])
    }
    reflector.store.onChange(set)
    void reflector.synced.then(set)
    await reflector.run(signal)
  } finally {
    fleet.close()
  }
}

function createReaders({ fleet, sign, onTrouble = () => {} }: FollowOptions, signal: AbortSignal) {
  const running = new Map<string, AbortController>()

  function start(url: string): void {
    const ending = new AbortController()
    running.set(url, ending)
    let last: string | undefined
    const note = (trouble: string | undefined) => {
      if (trouble !== last) onTrouble(url, trouble)
      last = trouble
    }
    void readState({
      url,
      sign,
      onState: (state) => {
        note(undefined)
        fleet.setState(url, state)
      },
      onTrouble: (trouble) => {
        note(trouble)
        fleet.setTrouble(url, trouble)
      },
      signal: AbortSignal.any([signal, ending.signal]),
    })
  }

  return {
    set(urls: readonly string[]): void {
      fleet.setProxies(urls)
      for (const [url, ending] of running) {
        if (urls.includes(url)) continue
        ending.abort()
        running.delete(url)
      }
      for (const url of urls) if (!running.has(url)) start(url)
    },
  }
}

function whenAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}
