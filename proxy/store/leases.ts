/** Who of several replicas brings something, so that the others need not. It saves transfers: nothing is right because of it. */
export interface Lease {
  /** Of this holding of it alone. */
  readonly token: string
  /** Where its holder answers other replicas; not to be trusted before it has. */
  readonly url: string
  /** Of the transfer to the bucket, once there is one. */
  readonly uploadId?: string | undefined
  /** What it came to, for those who wait for that. */
  readonly word?: string | undefined
}

export interface HeldLease {
  readonly lease: Lease
  readonly leftMs: number
}

export type Claim =
  | { readonly isOurs: true; readonly before: Lease | undefined }
  | ({ readonly isOurs: false } & HeldLease)

/** Each throws where they cannot be reached. Passes test/contracts/leases.ts. */
export interface Leases {
  /** Ours from now on where nobody holds it, or nobody but the one whose token is `instead`. */
  claim(key: string, lease: Lease, instead?: string): Promise<Claim>
  /** So long again, with what has changed in it; `again` where it had run out or was forgotten meanwhile. */
  renew(key: string, lease: Lease): Promise<'ours' | 'again' | 'anothers'>
  /** Nothing where it is another's. */
  release(key: string, token: string): Promise<void>
  /** Undefined where nobody holds it. */
  look(key: string): Promise<HeldLease | undefined>
}

export const leaseTtlMs = 3_000

/** Leases within one process. */
export function createLocalLeases(monotonicNow: () => number): Leases {
  const held = new Map<string, { lease: Lease; until: number }>()

  function current(key: string): HeldLease | undefined {
    const one = held.get(key)
    const leftMs = one === undefined ? 0 : one.until - monotonicNow()
    if (one !== undefined && leftMs > 0) return { lease: one.lease, leftMs }
    held.delete(key)
    return undefined
  }

  function hold(key: string, lease: Lease): void {
    held.set(key, { lease, until: monotonicNow() + leaseTtlMs })
  }

  return {
    async claim(key, lease, instead) {
      const now = current(key)
      if (now && now.lease.token !== lease.token && now.lease.token !== instead)
        return { isOurs: false, ...now }
      hold(key, lease)
      return { isOurs: true, before: now?.lease }
    },
    async renew(key, lease) {
      const now = current(key)
      if (now && now.lease.token !== lease.token) return 'anothers'
      hold(key, lease)
      return now ? 'ours' : 'again'
    },
    async release(key, token) {
      if (current(key)?.lease.token === token) held.delete(key)
    },
    look: async (key) => current(key),
  }
}
