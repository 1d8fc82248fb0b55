import { setTimeout as sleep } from 'node:timers/promises'
import type { UpstreamRoute } from '../routes.ts'

export interface ProberOptions {
  /** Those that are served now. */
  readonly upstreams: () => readonly UpstreamRoute[]
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

/**
 * Keeps known how upstreams are that nobody pulls from: asks one that has another document, and one that was not asked for
 * ten minutes. Until the signal is aborted.
 */
export async function runProber(options: ProberOptions, signal: AbortSignal): Promise<void> {
  const { mayProbe, now, tickMs = 1_000 } = options
  const tried = new WeakMap<UpstreamRoute, number>()

  while (!signal.aborted) {
    await sleep(tickMs, undefined, { signal, ref: false }).catch(() => {})
    if (signal.aborted) return
    const due = dueForProbe(options, tried, now())
    if (due.length === 0 || !(await mayProbe())) continue
    await inParallel(due, atOnce, async (upstream) => {
      if (signal.aborted) return
      tried.set(upstream, now())
      await options.probe(upstream)
    })
  }
}

export function dueForProbe(
  { upstreams, askedAt }: Pick<ProberOptions, 'upstreams' | 'askedAt'>,
  tried: Pick<WeakMap<UpstreamRoute, number>, 'get'>,
  now: number,
): UpstreamRoute[] {
  return upstreams().filter((upstream) => {
    if (upstream.mode === 'CacheOnly' || upstream.problem !== undefined) return false
    const last = Math.max(
      askedAt(upstream) ?? Number.NEGATIVE_INFINITY,
      tried.get(upstream) ?? Number.NEGATIVE_INFINITY,
    )
    return now - last >= probeAfterMs
  })
}

async function inParallel<T>(items: readonly T[], width: number, work: (item: T) => Promise<void>) {
  const left = items.values()
  const worker = async () => {
    for (const item of left) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, worker))
}
