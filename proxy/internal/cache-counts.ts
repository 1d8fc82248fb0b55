import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { CacheCount, UpstreamRoute } from '../routes.ts'

/** What of the index is needed to count what is in it. */
export interface Countable {
  listTags(upstreamId: string): AsyncIterable<unknown>
  listLinks(upstreamId: string): AsyncIterable<{
    readonly key: { readonly kind: 'manifest' | 'blob' }
    readonly entry: { readonly size: number }
  }>
  listUpstreams(): AsyncIterable<string>
}

export interface CacheCounts {
  /** By `<namespace>/<name>`; undefined until something was counted, or is known to be another's to count. */
  read(): Readonly<Record<string, CacheCount>> | undefined
  /** Counts now and then until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>
}

/** Of the time of one thread, so little at most. */
const share = 100
const firstMs = 2_000
const pauseMs = 60_000
const perTurn = 200

/**
 * How much is cached of each upstream, counted by going through the index, a little at a time and seldom enough that it
 * costs next to nothing.
 */
export function createCacheCounts({
  index,
  upstreams,
  mayCount,
  onChange,
  now,
}: {
  readonly index: Countable
  readonly upstreams: () => readonly UpstreamRoute[]
  /** Whether this proxy is the one that counts, of those that share the index. */
  readonly mayCount: () => Promise<boolean>
  onChange(): void
  readonly now: () => Date
}): CacheCounts {
  let counts: ReadonlyMap<string, CacheCount> | undefined

  async function countAll(signal: AbortSignal): Promise<void> {
    const cached = new Set<string>()
    for await (const id of index.listUpstreams()) cached.add(id)
    const next = new Map<string, CacheCount>()
    for (const { namespace, name, id } of upstreams()) {
      if (signal.aborted) return
      const key = `${namespace}/${name}`
      const counted = cached.has(id) ? await countOf(index, id) : { entries: 0, bytes: 0 }
      next.set(key, withTime(counted, counts?.get(key), now()))
    }
    take(next)
  }

  function take(next: ReadonlyMap<string, CacheCount>): void {
    const last = counts
    counts = next
    const isSame = next.size === last?.size && [...next].every(([key, count]) => last.get(key) === count)
    if (!isSame) onChange()
  }

  return {
    read: () => counts && Object.fromEntries(counts),
    async run(signal) {
      let waitMs = firstMs
      while (!signal.aborted) {
        await sleep(waitMs, undefined, { signal, ref: false }).catch(() => {})
        if (signal.aborted) return
        const begun = performance.now()
        try {
          if (await mayCount()) await countAll(signal)
          else take(new Map())
        } catch {
          // an index that is away is counted when it is back
        }
        waitMs = Math.max(pauseMs, share * (performance.now() - begun))
      }
    },
  }
}

export async function countOf(
  index: Pick<Countable, 'listTags' | 'listLinks'>,
  upstreamId: string,
): Promise<{ readonly entries: number; readonly bytes: number }> {
  let entries = 0
  let bytes = 0
  let seen = 0
  const breathe = async () => {
    if (++seen % perTurn === 0) await turn()
  }
  for await (const _tag of index.listTags(upstreamId)) {
    entries++
    await breathe()
  }
  for await (const { key, entry } of index.listLinks(upstreamId)) {
    if (key.kind === 'manifest') entries++
    bytes += entry.size
    await breathe()
  }
  return { entries, bytes }
}

function withTime(
  { entries, bytes }: { readonly entries: number; readonly bytes: number },
  last: CacheCount | undefined,
  now: Date,
): CacheCount {
  if (last?.entries === entries && last.bytes === bytes) return last
  return { entries, bytes, observedTime: now.toISOString().replace(/\.\d{3}Z$/, 'Z') }
}
