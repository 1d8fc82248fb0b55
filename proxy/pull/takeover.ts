/** What a replica that reads from another sees when that has ended before its time. */
export interface Sight {
  /** `lost`: refused, reset, cut, or it has no such fill. `silent`: nothing was heard of it for a second. */
  readonly leader: 'lost' | 'silent'
  /** Who holds the lease: `same` is the leader we had; `unknown` where leases cannot be asked. */
  readonly holder: 'same' | 'another' | 'nobody' | 'unknown'
  /** How long the lease holds yet, unless it is renewed. */
  readonly leftMs: number
  /** Since when it has been `unknown`, in milliseconds. */
  readonly unknownMs: number
}

export type Step =
  | { readonly kind: 'take-over' }
  /** The one who holds the lease now. */
  | { readonly kind: 'follow' }
  /** Reads the upstream without a lease. */
  | { readonly kind: 'go-alone' }
  | { readonly kind: 'wait'; readonly ms: number }

/**
 * A lease holds for three seconds and is renewed each second. After a second of silence it has more than two seconds
 * left only if it was renewed meanwhile; with half a second left two renewals were missed, and nobody waits for the rest.
 */
const renewedLeftMs = 2_100
const missedLeftMs = 500
const lookEachMs = 200
/** Leases that cannot be asked may be away for a moment only. */
const maxUnknownMs = 800

/** Whether a follower takes over, follows another, waits or goes by itself. */
export function takeover({ leader, holder, leftMs, unknownMs }: Sight): Step {
  if (holder === 'unknown')
    return unknownMs < maxUnknownMs ? { kind: 'wait', ms: lookEachMs } : { kind: 'go-alone' }
  if (holder === 'another') return { kind: 'follow' }
  if (holder === 'nobody' || leader === 'lost') return { kind: 'take-over' }
  if (leftMs > renewedLeftMs) return { kind: 'go-alone' }
  if (leftMs <= missedLeftMs) return { kind: 'take-over' }
  return { kind: 'wait', ms: Math.min(lookEachMs, leftMs - missedLeftMs) }
}
