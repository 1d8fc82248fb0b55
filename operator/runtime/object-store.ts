/** The least that is kept of any object. */
export interface Stored {
  readonly metadata: {
    readonly namespace: string
    readonly name: string
    readonly uid: string
    readonly resourceVersion: string
  }
}

/** `<namespace>/<name>` */
export function keyOf({ metadata }: { metadata: { namespace: string; name: string } }): string {
  return `${metadata.namespace}/${metadata.name}`
}

export type Indexers<T> = Readonly<Record<string, (object: T) => readonly string[]>>

/** Told of every difference; what was not there is undefined. */
export type Listener<T> = (key: string, previous: T | undefined, current: T | undefined) => void

/** The objects of one kind as they were last seen, with indexes over them. */
export interface ObjectStore<T extends Stored> {
  get(key: string): T | undefined
  values(): Iterable<T>
  readonly size: number
  /** Those of which the index gave this value. */
  select(index: string, value: string): readonly T[]
  /** Takes an object unless a newer one is known: events may come twice, late or out of order. */
  put(object: T): void
  /** Removes it unless a newer one is known. */
  remove(object: T): void
  /**
   * Takes a whole list that was read at `resourceVersion`: what is not in it is gone, less what was seen since. With
   * `force` the list is right whatever is known, for a server that went back in time.
   */
  replace(objects: readonly T[], resourceVersion: string, options?: { readonly force?: boolean }): void
  onChange(listener: Listener<T>): void
}

export function createObjectStore<T extends Stored>(indexers: Indexers<T> = {}): ObjectStore<T> {
  const objects = new Map<string, T>()
  const indexes = new Map(Object.entries(indexers).map(([name, of]) => [name, createIndex(of)]))
  const listeners: Listener<T>[] = []

  function write(key: string, current: T | undefined): void {
    const previous = objects.get(key)
    if (current === undefined) objects.delete(key)
    else objects.set(key, current)
    for (const index of indexes.values()) index.replace(key, previous, current)
    for (const listener of listeners) listener(key, previous, current)
  }

  function isNews({ metadata }: T, key: string): boolean {
    const known = objects.get(key)?.metadata.resourceVersion
    return known === undefined || compareVersions(metadata.resourceVersion, known) > 0
  }

  return {
    get: (key) => objects.get(key),
    values: () => objects.values(),
    get size() {
      return objects.size
    },
    select(index, value) {
      const found = indexes.get(index)
      if (found === undefined) throw new Error(`there is no index ${index}`)
      return found.keysOf(value).map((key) => objects.get(key)!)
    },
    put(object) {
      const key = keyOf(object)
      if (isNews(object, key)) write(key, object)
    },
    remove(object) {
      const key = keyOf(object)
      const known = objects.get(key)
      if (known === undefined) return
      if (compareVersions(known.metadata.resourceVersion, object.metadata.resourceVersion) > 0) return
      write(key, undefined)
    },
    replace(list, resourceVersion, { force = false } = {}) {
      const listed = new Set(list.map(keyOf))
      for (const object of list) {
        const key = keyOf(object)
        const isSame = objects.get(key)?.metadata.resourceVersion === object.metadata.resourceVersion
        if (force ? !isSame : isNews(object, key)) write(key, object)
      }
      const isSeenSince = ({ metadata }: T) => compareVersions(metadata.resourceVersion, resourceVersion) > 0
      const gone = [...objects].filter(([key, object]) => !listed.has(key) && (force || !isSeenSince(object)))
      for (const [key] of gone) write(key, undefined)
    },
    onChange(listener) {
      listeners.push(listener)
    },
  }
}

/** Which keys have which value. */
function createIndex<T>(of: (object: T) => readonly string[]) {
  const keys = new Map<string, Set<string>>()
  const drop = (value: string, key: string) => {
    const found = keys.get(value)
    found?.delete(key)
    if (found?.size === 0) keys.delete(value)
  }
  return {
    keysOf: (value: string) => [...(keys.get(value) ?? [])],
    replace(key: string, previous: T | undefined, current: T | undefined) {
      for (const value of previous === undefined ? [] : of(previous)) drop(value, key)
      for (const value of current === undefined ? [] : of(current)) {
        keys.set(value, (keys.get(value) ?? new Set()).add(key))
      }
    },
  }
}

/** Of two versions of one kind of a server: they are growing whole numbers without a bound to their length. */
export function compareVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length
  return a === b ? 0 : a < b ? -1 : 1
}
