import { setTimeout as sleep } from 'node:timers/promises'
import type { Stored } from '../../operator/runtime/object-store.ts'
import { createReflector, type Source } from '../../operator/runtime/reflector.ts'
import { assembleRoutes, type NamedDocuments, type RouteSet } from '../../proxy/route-set.ts'
import { routeSecretKey } from '../../proxy/routes.ts'

export interface WatchRoutesOptions {
  /** The Secrets of the routes namespace. */
  readonly source: Source
  /** What is served already; what cannot be taken now stays as it is there. */
  readonly last: NamedDocuments
  /** Each whole set that differs from the one before, the first one in any case; one at a time. */
  onSet(set: RouteSet): void | Promise<void>
  onFailure?(error: unknown): void
  onRecovery?(): void
  readonly signal: AbortSignal
  /** How long changes are gathered, at least; a set that takes long to be served has the next one wait longer. */
  readonly quietMs?: number
}

const longestQuietMs = 2000

/**
 * Follows the routes namespace: a list and a watch, and nothing else is asked. A list that fails says nothing, least of
 * all that there is nothing.
 */
export async function watchRoutes({
  source,
  last,
  onSet,
  onFailure = () => {},
  onRecovery = () => {},
  signal,
  quietMs = 50,
}: WatchRoutesOptions): Promise<void> {
  const reflector = createReflector({ source, transform: observeText, onFailure, onRecovery })
  let changed = Promise.withResolvers<void>()
  reflector.store.onChange(() => changed.resolve())
  signal.addEventListener('abort', () => changed.resolve(), { once: true })
  const running = reflector.run(signal)
  await Promise.race([reflector.synced, running])

  let taken = last
  while (!signal.aborted) {
    changed = Promise.withResolvers()
    const begun = performance.now()
    const texts = new Map([...reflector.store.values()].map(({ metadata, text }) => [metadata.name, text]))
    const set = assembleRoutes(texts, taken)
    taken = set.taken
    await onSet(set)
    const tookMs = performance.now() - begun
    await changed.promise
    await sleep(Math.min(longestQuietMs, Math.max(quietMs, 4 * tookMs)), undefined, { signal }).catch(
      () => {},
    )
  }
  await running
}

interface SeenText extends Stored {
  readonly text: string | undefined
}

function observeText(raw: unknown): SeenText {
  const { metadata, data } = raw as {
    readonly metadata: Stored['metadata']
    readonly data?: Readonly<Record<string, string>>
  }
  const { namespace, name, uid, resourceVersion } = metadata
  const encoded = data?.[routeSecretKey]
  return {
    metadata: { namespace, name, uid, resourceVersion },
    text: encoded === undefined ? undefined : Buffer.from(encoded, 'base64').toString('utf8'),
  }
}
