import { type Lease, type Leases, leaseTtlMs } from '../store/leases.ts'
import type { Fill } from './fill.ts'

/** A lease that this replica holds, for as many of its shares as there are. */
export interface Held {
  readonly key: string
  lease: Lease
  /** What is brought under it; undefined when it came to nothing. */
  readonly started: PromiseWithResolvers<Fill | undefined>
}

/**
 * - `anothers`: it was another's meanwhile, and still is; nothing is held any more
 * - `again`: it ran out meanwhile and is ours again
 * - `late`: we slept for so long that others may have given us up; what became of it is not known yet
 */
export type Lost = 'anothers' | 'again' | 'late'
export type OnLost = (lost: Lost) => void

/** Leases are renewed until nobody needs them. One that cannot be may be taken from us, which costs a transfer and nothing else. */
export interface HeldLeases {
  get(key: string): Held | undefined
  /** Others may read of a lease that it is ours before we do: until `work` has ended, `claimed` waits. */
  claiming(key: string, work: () => Promise<void>): Promise<void>
  /** Resolves once it is known what came of the claims that are under way. */
  claimed(key: string): Promise<void>
  hold(key: string, lease: Lease, user: OnLost): Held
  join(held: Held, user: OnLost): void
  letGo(held: Held, user: OnLost): void
  /** Also with what has changed in it. Undefined where nobody can say. */
  renew(held: Held): Promise<'ours' | 'again' | 'anothers' | undefined>
}

interface Renewed extends Held {
  readonly users: Set<OnLost>
  readonly timer: NodeJS.Timeout
  retry: NodeJS.Timeout | undefined
  tickedAt: number
}

const renewEachMs = 1_000
/** Leases that cannot be asked are asked once more. */
export const retryMs = 180
/** Two renewals more than this apart: others have given us up meanwhile, or will have before they hear of us. */
const sleptMs = leaseTtlMs - renewEachMs

export function createHeldLeases(leases: Leases): HeldLeases {
  const all = new Map<string, Renewed>()
  const claims = new Map<string, Set<Promise<void>>>()
  const isHeld = (held: Held): held is Renewed => all.get(held.key) === held

  async function renew(held: Held) {
    const now = await leases.renew(held.key, held.lease).catch(() => undefined)
    if (!isHeld(held)) return now
    if (now === undefined) renewSoon(held)
    if (now === 'anothers') forget(held)
    if (now === 'anothers' || now === 'again') tell(held, now)
    return now
  }

  function tick(held: Renewed): void {
    const now = performance.now()
    const hasSlept = now - held.tickedAt > sleptMs
    held.tickedAt = now
    if (hasSlept) tell(held, 'late')
    void renew(held)
  }

  function renewSoon(held: Renewed): void {
    held.retry ??= setTimeout(() => {
      held.retry = undefined
      if (isHeld(held)) void renew(held)
    }, retryMs).unref()
  }

  function tell({ users }: Renewed, lost: Lost): void {
    for (const onLost of users) onLost(lost)
  }

  function forget(held: Renewed): void {
    clearInterval(held.timer)
    clearTimeout(held.retry)
    held.started.resolve(undefined)
    if (isHeld(held)) all.delete(held.key)
  }

  return {
    get: (key) => all.get(key),
    renew,

    async claiming(key, work) {
      const claim = work()
      const others = claims.get(key) ?? new Set()
      claims.set(key, others.add(claim))
      try {
        await claim
      } finally {
        others.delete(claim)
        if (others.size === 0) claims.delete(key)
      }
    },

    async claimed(key) {
      await Promise.allSettled(claims.get(key) ?? [])
    },

    hold(key, lease, user) {
      const timer = setInterval(() => tick(held), renewEachMs).unref()
      const held: Renewed = {
        ...{ key, lease, timer, retry: undefined, tickedAt: performance.now() },
        users: new Set([user]),
        started: Promise.withResolvers(),
      }
      all.set(key, held)
      return held
    },

    join(held, user) {
      if (isHeld(held)) held.users.add(user)
    },

    letGo(held, user) {
      if (!isHeld(held) || !held.users.delete(user) || held.users.size > 0) return
      forget(held)
      leases.release(held.key, held.lease.token).catch(() => {})
    },
  }
}
