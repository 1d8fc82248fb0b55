import type { Observer } from '../observer.ts'
import type { IndexStore, LinkKey, TagKey, Use } from '../store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../store/keys.ts'

/** Uses are counted in memory and written in batches: a pull waits for none of it. */
export interface Uses {
  tag(key: TagKey, downloads: 0 | 1): UseCell
  link(key: LinkKey, downloads: 0 | 1): UseCell
  flush(): Promise<void>
}

/** Counts the same use again. */
export type UseCell = () => void

const maxHeld = 20_000

/** `now` is milliseconds since the epoch. The caller flushes now and then, and at its end. */
export function createUses({
  index,
  now,
  observer,
}: {
  index: IndexStore
  now: () => number
  observer: Observer
}): Uses {
  let held = new Map<string, Use>()

  async function flush(): Promise<void> {
    if (held.size === 0) return
    const uses = [...held.values()]
    held = new Map()
    try {
      await index.recordUses(uses)
    } catch (error) {
      observer.storeFailure('index.recordUses', error)
    }
  }

  function add(name: string, use: (usedAt: number, downloads: number) => Use, downloads: 0 | 1): void {
    held.set(name, use(now(), (held.get(name)?.downloads ?? 0) + downloads))
    if (held.size >= maxHeld) void flush()
  }

  function cell(name: string, use: (usedAt: number, downloads: number) => Use, downloads: 0 | 1): UseCell {
    const count = () => add(name, use, downloads)
    count()
    return count
  }

  return {
    tag: (key, downloads) =>
      cell(tagDocumentKey(key), (usedAt, total) => ({ tag: key, usedAt, downloads: total }), downloads),
    link: (key, downloads) =>
      cell(linkDocumentKey(key), (usedAt, total) => ({ link: key, usedAt, downloads: total }), downloads),
    flush,
  }
}
