import type { HeldLease, Lease, Leases } from '../store/leases.ts'

/** What a replica that reads from another sees when that has ended before its time. */
export interface Sight {
  /** `lost`: refused, reset, cut, or it has no such fill. `silent`: nothing was heard of it for a second. */
  readonly leader: 'lost' | 'silent'
  /** Who holds the lease: `same` is the leader we had; `unknown` where leases cannot be asked. */
  readonly holder: 'same' | 'another' | 'nobody' | 'unknown'
  /** How long the lease holds yet, unless it is renewed. */
  readonly leftMs: number
  /** It was renewed since we looked first. */
  readonly isRenewed: boolean
  /** Since when it has been `unknown`, in milliseconds. */
  readonly unknownMs: number
}

export type Step =
  | { readonly kind: 'take-over' }
  /** The one who holds the lease now. */
  | { readonly kind: 'follow' }
  /** Reads the upstream beside a leader that cannot be reached, and goes on. */
  | { readonly kind: 'go-apart' }
  /** Reads the upstream without a lease. */
  | { readonly kind: 'go-alone' }
  | { readonly kind: 'wait'; readonly ms: number }

/**
 * A lease holds for three seconds and is renewed each second. After a second of silence it has more than this left only
 * if it was renewed long after the last word, whoever looks: of two followers none may take over what the other thinks
 * alive. With half a second left two renewals were missed, and nobody waits for the rest.
 */
const renewedLeftMs = 2_600
const missedLeftMs = 500
const lookEachMs = 200
/** Leases that cannot be asked may be away for a moment only. */
const maxUnknownMs = 800

/** Whether a follower takes over, follows another, waits or asks the upstream beside it. */
export function takeover({ leader, holder, leftMs, isRenewed, unknownMs }: Sight): Step {
  if (holder === 'unknown')
    return unknownMs < maxUnknownMs ? { kind: 'wait', ms: lookEachMs } : { kind: 'go-alone' }
  if (holder === 'another') return { kind: 'follow' }
  if (holder === 'nobody' || leader === 'lost') return { kind: 'take-over' }
  if (isRenewed || leftMs > renewedLeftMs) return { kind: 'go-apart' }
  if (leftMs <= missedLeftMs) return { kind: 'take-over' }
  return { kind: 'wait', ms: Math.min(lookEachMs, leftMs - missedLeftMs) }
}

/** Looks at the lease of a leader that was lost from sight; each call is a look, and says what to do after it. */
export function watchLeader(
  leases: Pick<Leases, 'look'>,
  { key, lease, seen }: { readonly key: string; readonly lease: Lease; readonly seen: Sight['leader'] },
): () => Promise<Step> {
  let unknownSince: number | undefined
  let leastLeftMs = Number.POSITIVE_INFINITY

  return async () => {
    const now = await leases.look(key).catch(() => 'unknown' as const)
    unknownSince = now === 'unknown' ? (unknownSince ?? performance.now()) : undefined
    const unknownMs = unknownSince === undefined ? 0 : performance.now() - unknownSince
    const { holder, leftMs } = sightOf(now, lease)
    const isRenewed = leftMs > leastLeftMs
    if (holder === 'same') leastLeftMs = Math.min(leastLeftMs, leftMs)
    return takeover({ leader: seen, holder, leftMs, isRenewed, unknownMs })
  }
}

function sightOf(now: HeldLease | 'unknown' | undefined, lease: Lease): Pick<Sight, 'holder' | 'leftMs'> {
  if (now === 'unknown') return { holder: 'unknown', leftMs: 0 }
  if (now === undefined) return { holder: 'nobody', leftMs: 0 }
  return { holder: now.lease.token === lease.token ? 'same' : 'another', leftMs: now.leftMs }
}
