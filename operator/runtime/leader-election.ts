import { setTimeout as sleepFor } from 'node:timers/promises'
import { type V1Lease, type V1LeaseSpec, V1MicroTime } from '@kubernetes/client-node'
import { ApiError, isStatus, toApiError } from './api-error.ts'
import { createFailureTeller } from './failure-teller.ts'

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
  /** Told of the holder whenever it is another, and once for each reason why the Lease cannot be had. */
  onHolder?(identity: string): void
  onFailure?(error: unknown): void
}

export interface LeaderElection {
  /** To be asked before every write: true only while nobody else can have the Lease yet. */
  isLeading(): boolean
  /**
   * Waits for the Lease, then runs `lead` while it holds. `stopped`: the signal was aborted, `lead` ended and the Lease
   * was given back; what the API server does not answer is not waited for. `lost`: somebody else may lead now, `lead` was
   * not waited for, and the process must end.
   */
  run(lead: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<'stopped' | 'lost'>
}

/** For the answer to what was asked before a stop: most come at once, and a Lease that is had is given back. */
const graceMs = 1000

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
  /** Why the Lease could not be had, since it could be read and written. */
  const failures = createFailureTeller(onFailure)

  const isLeading = () => heldSince !== undefined && !isOver && now() - heldSince < renewDeadlineMs

  /** Takes or renews the Lease; false when it is somebody else's. */
  async function tryHold(): Promise<boolean> {
    const begun = now()
    const lease = await leases.read()
    if (isOver) return false // an answer that came after the Lease was given back
    if (lease === undefined) {
      await leases.create(specOf(undefined), annotations())
      return hold(begun)
    }
    if (isAnothers(lease)) return false
    const metadata = {
      ...lease.metadata,
      annotations: { ...lease.metadata?.annotations, ...annotations() },
    }
    const replaced = await leases.replace({ ...lease, metadata, spec: specOf(lease) })
    observed = { version: replaced.metadata?.resourceVersion ?? '', at: now() }
    return hold(begun)
  }

  /** By our own clock, from when this version of it was seen first. */
  function isAnothers({ metadata, spec }: V1Lease): boolean {
    const version = metadata?.resourceVersion ?? ''
    if (observed?.version !== version) observed = { version, at: now() }
    const current = spec?.holderIdentity ?? ''
    if (current === identity || current === '') return false
    tellHolder(current)
    const claimedMs = (spec?.leaseDurationSeconds ?? 0) * 1000
    return now() - observed.at < Math.max(claimedMs, leaseMs)
  }

  function hold(begun: number): true {
    heldSince = Math.max(heldSince ?? begun, begun) // answers may overtake each other
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
      if (await attempt(renewDeadlineMs, signal)) return true
      await sleep(retryMs * (0.8 + random() * 0.4), signal)
    }
    return false
  }

  /** Resolves when the signal is aborted (true) or the Lease is no longer ours (false). */
  async function renew(signal: AbortSignal): Promise<boolean> {
    for (;;) {
      await sleep(Math.min(retryMs, Math.max(0, leftMs())), signal)
      if (signal.aborted) return true
      if (leftMs() <= 0) return false
      // half of the time there is: where an answer never comes, that to another request may
      if ((await attempt(Math.min(leftMs(), renewDeadlineMs / 2), signal)) === false) return false
    }
  }

  function leftMs(): number {
    return heldSince! + renewDeadlineMs - now()
  }

  /** Undefined where it failed or was not answered in time: shortly after the signal is aborted, at the latest. */
  async function attempt(withinMs: number, signal: AbortSignal): Promise<boolean | undefined> {
    const answered = new AbortController()
    const succeed = (isOurs: boolean) => {
      failures.wentWell()
      return isOurs
    }
    const held = tryHold().then(succeed, tellFailure)
    const late = async () => {
      await sleep(withinMs, AbortSignal.any([signal, answered.signal]))
      await sleep(signal.aborted ? graceMs : 0, answered.signal)
      return undefined
    }
    return Promise.race([held, late()]).finally(() => answered.abort())
  }

  function tellFailure(caught: unknown): undefined {
    const error = toApiError(caught)
    if (!isStatus(error, 409)) failures.failed(error)
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
      if (!(await acquire(signal))) {
        isOver = true
        return 'stopped'
      }
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
      const mustRelease = isLeading()
      isOver = true
      if (mustRelease) await release()
      return 'stopped'
    },
  }
}

async function sleepQuietly(ms: number, signal: AbortSignal): Promise<void> {
  await sleepFor(ms, undefined, { signal }).catch(() => {})
}
