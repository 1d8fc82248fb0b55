import type { Observer } from '../observer.ts'
import type { IndexStore, LinkKey, TagKey, Use, UseKey } from '../store/index-store.ts'
import { linkDocumentKey, tagDocumentKey } from '../store/keys.ts'
import type { UseSnapshots } from '../store/use-snapshots.ts'

/** Uses are counted in memory and written in batches: a pull waits for none of it. */
export interface Uses {
  tag(key: TagKey, downloads: 0 | 1): UseCell
  link(key: LinkKey, downloads: 0 | 1): UseCell
  /** Tells the index. */
  flush(): Promise<void>
  /** Has what the index was told since the last time kept where an index that loses its data finds it again. */
  snapshot(): Promise<void>
}

/** Counts the same use again. */
export type UseCell = () => void

const maxHeld = 20_000
/** Of what no snapshot has yet; beyond it a use is in the next one that tells of it again. */
const maxUnsaved = 50_000

/** `now` is milliseconds since the epoch. The caller flushes now and then, and at its end; so it does with snapshots. */
export function createUses({
  index,
  now,
  observer,
  snapshots,
}: {
  index: IndexStore
  now: () => number
  observer: Pick<Observer, 'storeFailure'>
  snapshots?: UseSnapshots | undefined
}): Uses {
  let held = new Map<string, Use>()
  let unsaved = new Map<string, UseKey>()
  let saving: Promise<void> | undefined

  async function flush(): Promise<void> {
    if (held.size === 0) return
    const uses = [...held]
    held = new Map()
    try {
      await index.recordUses(uses.map(([, use]) => use))
    } catch (error) {
      observer.storeFailure('index.recordUses', error)
    }
    for (const [name, use] of uses) keepUnsaved(name, use)
  }

  function keepUnsaved(name: string, { tag, link }: UseKey): void {
    if (snapshots && unsaved.size < maxUnsaved) unsaved.set(name, tag ? { tag } : { link: link! })
  }

  async function save(to: UseSnapshots): Promise<void> {
    const keys = [...unsaved.values()]
    unsaved = new Map()
    try {
      for (const key of await to.write(keys)) keepUnsaved(nameOf(key), key)
    } catch (error) {
      for (const key of keys) keepUnsaved(nameOf(key), key)
      observer.storeFailure('uses.snapshot', error)
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

    /** One at a time; who asks meanwhile waits for that one, and then for one of its own. */
    async snapshot() {
      await saving
      if (!snapshots || unsaved.size === 0) return
      saving ??= save(snapshots).finally(() => {
        saving = undefined
      })
      await saving
    },
  }
}

function nameOf({ tag, link }: UseKey): string {
  return tag ? tagDocumentKey(tag) : linkDocumentKey(link)
}
