import { isDeepStrictEqual as isSame } from 'node:util'
import type { CacheCount, ProxyState, UpstreamWord } from '../../proxy/routes.ts'
import type { Delivered, Delivery } from '../delivery.ts'
import type { Verdict } from '../runtime/conditions.ts'
import { createDamper } from './damper.ts'
import {
  type Asked,
  countsOf,
  createJudge,
  judgeHealth,
  notAsked,
  type ProxyView,
  proxiesUnknown,
  servedBy,
  sumCounts,
  wordsAbout,
} from './judge.ts'

/** The proxies as they say they are. */
export interface Fleet extends Delivery {
  /** From now on these are all the proxies there are, each by the URL of its internal listener. */
  setProxies(urls: readonly string[]): void
  /** It is not known which proxies there are, as long as nothing of this source could be read. */
  setUnread(source: string): void
  /** Of proxies that are not among those there are, nothing is taken. */
  setState(url: string, state: ProxyState): void
  setTrouble(url: string, trouble: string): void
  close(): void
}

/** How often what flaps may be written, at first and at last. */
const healthMs = { baseMs: 10_000, maxMs: 10 * 60_000 }
/** How often numbers may be written. */
const countMs = { baseMs: 10 * 60_000, maxMs: 10 * 60_000 }

/** What was asked about and is not served by all yet. */
interface Unsettled extends Asked {
  readonly verdict: Verdict
}

/** `now` is a monotonic clock in milliseconds. */
export function createFleet({ now }: { readonly now: () => number }): Fleet {
  const listeners: ((kind: Delivered, key: string) => void)[] = []
  const unsettled = new Map<string, Unsettled>()
  let views: Map<string, ProxyView> | undefined
  /** What is said for as long as it is not known which proxies there are. */
  let unknown = notAsked

  const tell = (kind: Delivered, key: string) => {
    for (const listener of listeners) listener(kind, key)
  }
  const onTaken = (key: string) => tell('Upstream', key)
  const words = createDamper<readonly UpstreamWord[]>({ ...healthMs, now, isSame, onTaken })
  const counts = createDamper<CacheCount | undefined>({ ...countMs, now, isSame, onTaken })
  const all = () => (views === undefined ? [] : [...views.values()])

  const judge = (): ((asked: Asked) => Verdict) => (views === undefined ? () => unknown : createJudge(all()))

  function settle(): void {
    const verdictOn = judge()
    for (const each of unsettled.values()) {
      if (!isSameVerdict(verdictOn(each), each.verdict)) tell(each.kind, each.key)
    }
  }

  /** What of upstreams these two views say differently. */
  function compare(before: ProxyView | undefined, after: ProxyView | undefined): void {
    const [old, next] = [before?.state, after?.state]
    const wasHeard = before?.trouble === undefined
    const isHeard = after?.trouble === undefined
    for (const key of keysOf(old?.health, next?.health)) {
      if (wasHeard === isHeard && isSame(old?.health[key], next?.health[key])) continue
      const said = wordsAbout(all(), key)
      // no word any more is no news
      if (said.length > 0) words.offer(key, said, { isUrgent: isOfAnother(words.read(key), said) })
    }
    compareCounts(old?.cache, next?.cache)
  }

  function compareCounts(old: ProxyState['cache'], next: ProxyState['cache']): void {
    if (next === undefined) return // not counted yet
    // with the first count of a proxy the sums of all are known
    const changed = keysOf(...(old === undefined ? all().map(({ state }) => state?.cache) : [old, next]))
    for (const key of changed) {
      if (old !== undefined && isSame(old[key], next[key])) continue
      const sum = sumCounts(countsOf(all(), key))
      const isFirst = (counts.read(key)?.entries ?? 0) === 0
      if (sum !== undefined) counts.offer(key, sum, { isUrgent: isFirst })
    }
  }

  function put(url: string, change: (view: ProxyView) => ProxyView): void {
    const before = views?.get(url)
    if (views === undefined || before === undefined) return
    const after = change(before)
    views.set(url, after)
    compare(before, after)
    settle()
  }

  return {
    setProxies(urls) {
      const before = views ?? new Map<string, ProxyView>()
      views = new Map(urls.map((url) => [url, before.get(url) ?? { state: undefined, trouble: undefined }]))
      for (const [url, view] of before) {
        if (!views.has(url)) compare(view, undefined)
      }
      settle()
    },
    setUnread(source) {
      unknown = proxiesUnknown(source)
      settle()
    },
    setState: (url, state) => put(url, () => ({ state, trouble: undefined })),
    setTrouble: (url, trouble) => put(url, ({ state }) => ({ state, trouble })),

    programmed(kind, key, revision, before) {
      const served = servedBy(revision)
      const verdict =
        before !== undefined && isSameVerdict(before, served) ? served : judge()({ kind, key, revision })
      if (verdict.status === 'True') unsettled.delete(`${kind} ${key}`)
      else unsettled.set(`${kind} ${key}`, { kind, key, revision, verdict })
      return verdict
    },
    health: (key, used) => judgeHealth(words.read(key) ?? [], used),
    cache: (key) => counts.read(key),
    forget(kind, key) {
      unsettled.delete(`${kind} ${key}`)
      if (kind !== 'Upstream') return
      words.forget(key)
      counts.forget(key)
    },
    onChange(listener) {
      listeners.push(listener)
    },
    close() {
      words.close()
      counts.close()
    },
  }
}

function isSameVerdict(a: Verdict, b: Verdict): boolean {
  return a.status === b.status && a.reason === b.reason && a.message === b.message
}

function keysOf(...records: readonly (Readonly<Record<string, unknown>> | undefined)[]): Set<string> {
  return new Set(records.flatMap((each) => Object.keys(each ?? {})))
}

/** What is said of another document is no flapping. */
function isOfAnother(before: readonly UpstreamWord[] | undefined, after: readonly UpstreamWord[]): boolean {
  const of = (words: readonly UpstreamWord[]) => words.map(({ id, revision }) => `${id} ${revision}`)
  const known = new Set(of(before ?? []))
  return of(after).some((each) => !known.has(each))
}
