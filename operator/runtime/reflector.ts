import { setTimeout as sleepFor } from 'node:timers/promises'
import { ApiError, isStatus, retryAfterMs, toApiError } from './api-error.ts'
import { createBackoff } from './backoff.ts'
import { createFailureTeller } from './failure-teller.ts'
import type { WatchEvent } from './kubernetes-client.ts'
import {
  compareVersions,
  createObjectStore,
  type Indexers,
  keyOf,
  type ObjectStore,
  type Stored,
} from './object-store.ts'

export interface Page {
  readonly items: readonly unknown[]
  readonly resourceVersion: string
  /** Undefined on the last page. */
  readonly continueToken: string | undefined
}

/** Where the objects of one kind come from. Both reject with ApiError. */
export interface Source {
  /** For people: `Secret (type …)`. */
  readonly name: string
  /** Without a limit, everything at once. */
  list(options: { readonly limit?: number; readonly continueToken?: string }): Promise<Page>
  /** Resolves when the server ended it in order; `signal` ends it too. */
  watch(
    options: { readonly resourceVersion: string; readonly timeoutSeconds: number },
    onEvent: (event: WatchEvent) => void,
    signal: AbortSignal,
  ): Promise<void>
}

export interface ReflectorOptions<T extends Stored> {
  readonly source: Source
  /** Keeps what is needed of an object as it came. */
  readonly transform: (raw: unknown) => T
  readonly indexers?: Indexers<T>
  readonly pageSize?: number
  readonly random?: () => number
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  readonly now?: () => number
  /** Told once per streak of failures that they began, and again whenever the reason is another. */
  onFailure?(error: unknown): void
  onRecovery?(): void
}

/** Keeps a store equal to what the API server has, for as long as it runs and however often they lose each other. */
export interface Reflector<T extends Stored> {
  readonly store: Omit<ObjectStore<T>, 'put' | 'remove' | 'replace'>
  /** Takes an object as the answer to a write said it is, ahead of the watch. What that has told the end of is over. */
  put(object: T): void
  /** Resolves after the first whole list. Never rejects: a list that fails is tried again. */
  readonly synced: Promise<void>
  readonly isSynced: boolean
  /** Resolves once the signal is aborted. */
  run(signal: AbortSignal): Promise<void>
}

/** A watch shorter than this that brought nothing counts as a failure, also after a list: nobody may be asked in a circle. */
const shortestWatchMs = 1000
/** After so many watches that failed without an event the list is read anew, whatever they failed with. */
const maxBlindWatches = 3

export function createReflector<T extends Stored>({
  source,
  transform,
  indexers = {},
  pageSize = 500,
  random = Math.random,
  sleep = sleepQuietly,
  now = () => performance.now(),
  onFailure = () => {},
  onRecovery = () => {},
}: ReflectorOptions<T>): Reflector<T> {
  const store = createObjectStore<T>(indexers)
  const backoff = createBackoff({ baseMs: 250, maxMs: 20_000, random })
  const { promise: synced, resolve: markSynced } = Promise.withResolvers<void>()
  let isSynced = false
  /** Up to where the store is known to be right; undefined when the list must be read. */
  let version: string | undefined
  let newest = ''
  let blindWatches = 0
  const failures = createFailureTeller(onFailure)

  async function readList(): Promise<void> {
    const { items, resourceVersion } = await readPages(source, pageSize, transform)
    const hasGoneBack = newest !== '' && compareVersions(resourceVersion, newest) < 0
    store.replace(items, resourceVersion, { force: hasGoneBack })
    version = resourceVersion
    newest = resourceVersion
    blindWatches = 0
    isSynced = true
    markSynced()
    recover()
  }

  async function watch(signal: AbortSignal): Promise<void> {
    const begun = now()
    const isShort = () => now() - begun < shortestWatchMs
    let events = 0
    const take = (event: WatchEvent) => {
      apply(event) // throws what is an error and no event
      events += 1
      blindWatches = 0
      backoff.reset()
      recover()
    }
    const timeoutSeconds = Math.round(300 + random() * 300)
    try {
      await source.watch({ resourceVersion: version!, timeoutSeconds }, take, signal)
    } catch (error) {
      if (!isShort()) backoff.reset()
      endWatch(error, events)
      return
    }
    if (events === 0 && isShort()) throw new ApiError(undefined, 'ENDED')
    backoff.reset()
    recover()
  }

  /** Decides from where to go on, and throws unless that is to be at once. */
  function endWatch(error: unknown, events: number): void {
    blindWatches += events === 0 ? 1 : 0
    if (mustReadList(error) || blindWatches >= maxBlindWatches) version = undefined
    const wasGoneMeanwhile = isStatus(error, 410) && events > 0
    if (!wasGoneMeanwhile) throw error
  }

  function apply({ type, object }: WatchEvent): void {
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
        store.put(transform(object))
        break
      case 'DELETED':
        store.remove(transform(object))
        break
      case 'ERROR':
        throw new ApiError(Number(object?.code) || undefined, String(object?.reason ?? 'Unknown'))
      default: // BOOKMARK, and what is not known yet: of each the version alone counts
    }
    const seen = object?.metadata?.resourceVersion
    if (typeof seen !== 'string' || seen === '') return
    version = seen
    if (compareVersions(seen, newest) > 0) newest = seen
  }

  function recover(): void {
    if (failures.wentWell()) onRecovery()
  }

  async function follow(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (version === undefined) await readList()
        if (!signal.aborted) await watch(signal)
      } catch (caught) {
        if (!signal.aborted) await fail(toApiError(caught), signal)
      }
    }
  }

  async function fail(error: unknown, signal: AbortSignal): Promise<void> {
    failures.failed(error)
    await sleep(Math.max(backoff.nextMs(), retryAfterMs(error)), signal)
  }

  return {
    store,
    put(object) {
      const isOver =
        store.get(keyOf(object)) === undefined &&
        compareVersions(object.metadata.resourceVersion, newest) <= 0
      if (!isOver) store.put(object)
    },
    synced,
    get isSynced() {
      return isSynced
    },
    async run(signal) {
      const { promise: aborted, resolve } = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => resolve(), { once: true })
      // a list that is never answered holds nobody up
      if (!signal.aborted) await Promise.race([follow(signal), aborted])
    },
  }
}

/**
 * Pages of one list; when the server forgot it half way, everything at once, which cannot be forgotten. Of each page only
 * what is kept of it outlives it.
 */
async function readPages<T>(
  source: Source,
  limit: number,
  transform: (raw: unknown) => T,
): Promise<{ readonly items: T[]; readonly resourceVersion: string }> {
  const items: T[] = []
  let page = await source.list({ limit })
  for (;;) {
    for (const item of page.items) items.push(transform(item))
    const { resourceVersion, continueToken } = page
    if (continueToken === undefined) return { items, resourceVersion }
    try {
      page = await source.list({ limit, continueToken })
    } catch (error) {
      if (!isStatus(error, 410)) throw error
      const whole = await source.list({})
      return { items: whole.items.map(transform), resourceVersion: whole.resourceVersion }
    }
  }
}

/** What another watch from the same place would meet again. */
function mustReadList(error: unknown): boolean {
  if (!(error instanceof ApiError)) return true
  const { status } = error
  return status !== undefined && status !== 429 && status < 500
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal, ref: false }).catch(() => {})
}
