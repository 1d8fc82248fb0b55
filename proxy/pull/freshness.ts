import type { UpstreamRoute } from '../routes.ts'

export type Freshness = 'fresh' | 'stale'

/**
 * Whether what an upstream said of a tag at `checkedAt` still counts. A time in the future says that a clock jumped:
 * stale, never fresh for ever. Both times are milliseconds since the epoch.
 */
export function freshness(
  revalidation: UpstreamRoute['revalidation'],
  checkedAt: number,
  now: number,
): Freshness {
  return freshForMs(revalidation, checkedAt, now) > 0 ? 'fresh' : 'stale'
}

/** How much longer it counts, in milliseconds; 0 when it does not. */
export function freshForMs(
  { policy, validitySeconds }: UpstreamRoute['revalidation'],
  checkedAt: number,
  now: number,
): number {
  if (policy === 'Never') return Number.POSITIVE_INFINITY
  if (policy === 'Always') return 0
  const ageMs = now - checkedAt
  return ageMs < 0 ? 0 : Math.max(0, validitySeconds * 1000 - ageMs)
}
