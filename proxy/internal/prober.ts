import { setTimeout as sleep } from 'node:timers/promises'
import type { UpstreamRoute } from '../routes.ts'
import type { Used } from './upstream-words.ts'

export interface ProberOptions {
  /** Those that are served now, each of the document it is from. */
  readonly upstreams: () => readonly Used[]
  /** When one was last asked, on the clock, for whatever reason; undefined when not since its document is this one. */
  readonly askedAt: (upstream: UpstreamRoute) => number | undefined
  /** Asks it; what comes of it is told elsewhere. */
  probe(upstream: UpstreamRoute): Promise<void>
  /** Whether this proxy is the one that probes, of those that share an index. */
  readonly mayProbe: () => Promise<boolean>
  /** A monotonic clock in milliseconds. */
  readonly now: () => number
  readonly tickMs?: number
}

/** What no pull spoke to for so long is probed, and no more often. */
export const probeAfterMs = 10 * 60_000
const atOnce = 16

/** Since when a document is known, and when its upstream was last probed with it. */
export interface Met {
  readonly since: number
  readonly triedAt: number | undefined
}

/**
 * Keeps known how upstreams are that nobody pulls from: asks one that has another document, and one that was not asked for
 * ten minutes. Each with what is served of it at that moment, however long it waited for others. Until the signal is
 * aborted.
 */
export async function runProber(options: ProberOptions, signal: AbortSignal): Promise<void> {
  const { upstreams, mayProbe, probe, now, tickMs = 1_000 } = options
  let met = new Map<string, Met>()
  let waiting: Used[] = []
  const running = new Set<Promise<void>>()

  function start(used: Used): void {
    const at = now()
    met.set(documentOf(used), { since: at, ...met.get(documentOf(used)), triedAt: at })
    const probing = probe(used.route).finally(() => {
      running.delete(probing)
      startNext()
    })
    running.add(probing)
  }

  function startNext(): void {
    while (running.size < atOnce && !signal.aborted) {
      const next = waiting.shift()
      if (next === undefined) return
      const served = upstreams().find((each) => isSameDocument(each, next))
      if (served !== undefined) start(served)
    }
  }

  while (!signal.aborted) {
    await sleep(tickMs, undefined, { signal, ref: false }).catch(() => {})
    const isOurs = await mayProbe()
    const unmet = { since: now(), triedAt: undefined }
    met = new Map(
      upstreams()
        .map(documentOf)
        .map((document) => [document, met.get(document) ?? unmet]),
    )
    waiting = isOurs ? dueForProbe(options, met, now()) : []
    startNext()
  }
}

/** In the order in which they are to be asked: first those that never were, and of them the newest. */
export function dueForProbe(
  { upstreams, askedAt }: Pick<ProberOptions, 'upstreams' | 'askedAt'>,
  met: ReadonlyMap<string, Met>,
  now: number,
): Used[] {
  const never = Number.NEGATIVE_INFINITY
  return upstreams()
    .filter(({ route }) => route.mode !== 'CacheOnly' && route.problem === undefined)
    .map((used) => {
      const { since = 0, triedAt = never } = met.get(documentOf(used)) ?? {}
      const last = Math.max(askedAt(used.route) ?? never, triedAt)
      return { used, last, since }
    })
    .filter(({ last }) => now - last >= probeAfterMs)
    .toSorted((a, b) => (a.last === b.last ? b.since - a.since : a.last - b.last))
    .map(({ used }) => used)
}

function documentOf({ route: { namespace, name }, revision }: Used): string {
  return `${namespace}/${name} ${revision}`
}

function isSameDocument(a: Used, b: Used): boolean {
  return a.revision === b.revision && a.route.name === b.route.name && a.route.namespace === b.route.namespace
}
