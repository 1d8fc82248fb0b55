import { setTimeout as sleep } from 'node:timers/promises'

/** What of the leases of an index is needed to be the one of its replicas that does what need be done once. */
export interface OneLease {
  claim(
    key: string,
    lease: { readonly token: string; readonly url: string },
  ): Promise<{ readonly isOurs: boolean }>
  release(key: string, token: string): Promise<void>
}

export interface Chosen {
  isChosen(): Promise<boolean>
  /** Holds the lease, or waits for it, until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>
}

const leaseKey = 'probe'
const renewMs = 1_000

/** Without leases the index is nobody else's. Where they cannot be reached nobody is chosen: what is done is not urgent. */
export function createChosen(leases: OneLease | undefined, token: string): Chosen {
  let isHeld = leases === undefined

  return {
    isChosen: async () => isHeld,
    async run(signal) {
      if (leases === undefined) return
      while (!signal.aborted) {
        const claim = leases.claim(leaseKey, { token, url: '' })
        isHeld = await claim.then(({ isOurs }) => isOurs).catch(() => false)
        await sleep(renewMs, undefined, { signal, ref: false }).catch(() => {})
      }
      if (isHeld) await leases.release(leaseKey, token).catch(() => {})
      isHeld = false
    },
  }
}
