import { setTimeout as sleepFor } from 'node:timers/promises'
import { type V1Lease, type V1LeaseSpec, V1MicroTime } from '@kubernetes/client-node'
import { ApiError, isStatus, toApiError } from './api-error.ts'

/** The one Lease, by requests that reject with ApiError. */
export interface LeaseClient {
  /** Undefined when there is none. */
  read(): Promise<V1Lease | undefined>
  create(spec: V1LeaseSpec, annotations: Readonly<Record<string, string>>): Promise<V1Lease>
  /** Rejects with 409 when it is another than the one that was read. */
  replace(lease: V1Lease): Promise<V1Lease>
}

export interface LeaderElectionOptions {
  readonly leases: LeaseClient
  readonly identity: string
  /** Put on the Lease with every write, beside those it has. */
  readonly annotations?: () => Readonly<Record<string, string>>
  readonly leaseMs?: number
  readonly renewDeadlineMs?: number
  readonly retryMs?: number
  /** Monotonic: clocks of machines differ and jump, so times in the Lease are for people. */
  readonly now?: () => number
  readonly wallNow?: () => Date
  readonly random?: () => number
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Told of the holder whenever it is another, and of why the Lease cannot be had. */
  onHolder?(identity: string): void
  onFailure?(error: unknown): void
}

export interface LeaderElection {
  /** To be asked before every write: true only while nobody else can have the Lease yet. */
  isLeading(): boolean
  /**
   * Waits for the Lease, then runs `lead` while it holds. `stopped`: the signal was aborted, `lead` ended and the Lease
   * was given back. `lost`: somebody else may lead now, `lead` was not waited for, and the process must end.
   */
  run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<'stopped' | 'lost'>
}

export function createLeaderElection({
  leases,
  identity,
  annotations = () => ({}),
  leaseMs = 15_000,
  renewDeadlineMs = 10_000,
  retryMs = 2_000,
  now = () => performance.now(),
  wallNow = () => new Date(),
  random = Math.random,
  sleep = sleepQuietly,
  onHolder = () => {},
  onFailure = () => {},
}: LeaderElectionOptions): LeaderElection {
  /** When what is in the Lease was first seen here, by our own clock. */
  let observed: { readonly version: string; readonly at: number } | undefined
  let holder: string | undefined
  let heldSince: number | undefined
  let isOver = false

  const isLeading = () => heldSince !== undefined && !isOver && now() - heldSince < renewDeadlineMs

  /** Takes or renews the Lease; false when it is somebody else's. */
  async function tryHold(): Promise<boolean> {
    const begun = now()
    const lease = await leases.read()
    if (lease === undefined) {
      await leases.create(specOf(undefined), annotations())
      return hold(begun)
    }
    const version = lease.metadata?.resourceVersion ?? ''
    if (observed?.version !== version) observed = { version, at: now() }
    const current = lease.spec?.holderIdentity ?? ''
    if (current !== identity && current !== '') {
      tellHolder(current)
      const claimedMs = (lease.spec?.leaseDurationSeconds ?? 0) * 1000
      if (now() - observed.at < Math.max(claimedMs, leaseMs)) return false
    }
    const metadata = {
      ...lease.metadata,
      annotations: { ...lease.metadata?.annotations, ...annotations() },
    }
    const replaced = await leases.replace({ ...lease, metadata, spec: specOf(lease) })
    observed = { version: replaced.metadata?.resourceVersion ?? '', at: now() }
    return hold(begun)
  }

  function hold(begun: number): true {
    heldSince = begun
    tellHolder(identity)
    return true
  }

  function tellHolder(current: string): void {
    if (holder !== current) onHolder(current)
    holder = current
  }

  function specOf(lease: V1Lease | undefined): V1LeaseSpec {
    const time = new V1MicroTime(wallNow())
    const isOurs = lease?.spec?.holderIdentity === identity
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseMs / 1000),
      acquireTime: (isOurs ? lease?.spec?.acquireTime : undefined) ?? time,
      renewTime: time,
      leaseTransitions: (lease?.spec?.leaseTransitions ?? 0) + (isOurs || lease === undefined ? 0 : 1),
    }
  }

  async function acquire(signal: AbortSignal): Promise<boolean> {
    while (!signal.aborted) {
      try {
        if (await tryHold()) return true
      } catch (error) {
        tellFailure(error)
      }
      await sleep(retryMs * (0.8 + random() * 0.4), signal)
    }
    return false
  }

  /** Resolves when the signal is aborted (true) or the Lease is no longer ours (false). */
  async function renew(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      await sleep(retryMs, signal)
      if (signal.aborted) return true
      const leftMs = heldSince! + renewDeadlineMs - now()
      if (leftMs <= 0) return false
      const attempt = new AbortController()
      const renewed = tryHold().catch((error: unknown) => {
        tellFailure(error)
        return undefined
      })
      // an answer may never come
      const outcome = await Promise.race([renewed, sleep(leftMs, attempt.signal).then(() => false)])
      attempt.abort()
      if (outcome === false) return false
    }
  }

  function tellFailure(caught: unknown): void {
    const error = toApiError(caught)
    if (!isStatus(error, 409)) onFailure(error)
  }

  async function release(): Promise<void> {
    try {
      const lease = await leases.read()
      if (lease?.spec?.holderIdentity !== identity) return
      const time = new V1MicroTime(wallNow())
      await leases.replace({
        ...lease,
        spec: { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1, renewTime: time },
      })
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      tellFailure(error) // it runs out by itself
    }
  }

  return {
    isLeading,
    async run(lead, signal) {
      if (!(await acquire(signal))) return 'stopped'
      const leading = new AbortController()
      const keeping = AbortSignal.any([signal, leading.signal])
      const led = lead(keeping)
      const isKept = await Promise.race([renew(keeping), led.then(() => true)]).finally(() => leading.abort())
      if (!isKept) {
        isOver = true // before anything else can be written
        led.catch(() => {})
        return 'lost'
      }
      await led
      if (isLeading()) await release()
      isOver = true
      return 'stopped'
    },
  }
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal }).catch(() => {})
}
