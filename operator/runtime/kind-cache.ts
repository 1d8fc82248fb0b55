import { type Indexers, keyOf, type Listener, type Stored } from './object-store.ts'
import { createReflector, type Reflector, type Source } from './reflector.ts'

export interface ScopedSource {
  /** Undefined when it has those of all namespaces. */
  readonly namespace: string | undefined
  readonly source: Source
}

/** The objects of one kind from all the places that are watched for it. */
export interface KindCache<T extends Stored> {
  get(key: string): T | undefined
  values(): T[]
  select(index: string, value: string): T[]
  /** Takes an object as an answer to a write said it is now, ahead of the watch. */
  put(object: T): void
  onChange(listener: Listener<T>): void
  readonly synced: Promise<unknown>
  /** Names of the sources that have not been read yet. */
  unsynced(): string[]
  run(signal: AbortSignal): Promise<unknown>
}

export interface KindCacheOptions<T extends Stored> {
  readonly sources: readonly ScopedSource[]
  readonly transform: (raw: unknown) => T
  readonly indexers?: Indexers<T>
  readonly pageSize?: number
  onFailure?(source: string, error: unknown): void
  onRecovery?(source: string): void
  /** How a reflector waits after a failure. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
}

export function createKindCache<T extends Stored>({
  sources,
  transform,
  indexers = {},
  pageSize = 500,
  onFailure = () => {},
  onRecovery = () => {},
  sleep,
}: KindCacheOptions<T>): KindCache<T> {
  const parts = sources.map(({ namespace, source }) => ({
    namespace,
    name: source.name,
    reflector: createReflector<T>({
      source,
      transform,
      indexers,
      pageSize,
      onFailure: (error) => onFailure(source.name, error),
      onRecovery: () => onRecovery(source.name),
      ...(sleep && { sleep }),
    }),
  }))
  const stores = parts.map(({ reflector }) => reflector.store)
  const each = <R>(of: (reflector: Reflector<T>) => R) => parts.map(({ reflector }) => of(reflector))

  return {
    get(key) {
      for (const store of stores) {
        const found = store.get(key)
        if (found !== undefined) return found
      }
      return undefined
    },
    values: () => stores.flatMap((store) => [...store.values()]),
    select: (index, value) => stores.flatMap((store) => store.select(index, value)),
    put(object) {
      const key = keyOf(object)
      const { namespace } = object.metadata
      const known = parts.find(({ reflector }) => reflector.store.get(key) !== undefined)
      const part = known ?? parts.find((one) => one.namespace === undefined || one.namespace === namespace)
      part?.reflector.put(object)
    },
    onChange(listener) {
      for (const store of stores) store.onChange(listener)
    },
    synced: Promise.all(each(({ synced }) => synced)),
    unsynced: () => parts.filter(({ reflector }) => !reflector.isSynced).map(({ name }) => name),
    run: (signal) => Promise.all(each((reflector) => reflector.run(signal))),
  }
}
