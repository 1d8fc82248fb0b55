import { setTimeout as sleep } from 'node:timers/promises'
import type { V1Lease } from '@kubernetes/client-node'
import { describe, expect, it } from 'vitest'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import {
  createLeaderElection,
  type LeaderElectionOptions,
  type LeaseClient,
} from '../../../operator/runtime/leader-election.ts'

const patient = { timeout: 10_000, interval: 10 }

/** One Lease, as an API server keeps it. */
function fakeLeases() {
  let lease: V1Lease | undefined
  let version = 0
  const fake = {
    isDown: false,
    /** Requests that are sent and never answered. */
    isMute: false,
    writes: [] as string[],
    get lease() {
      return lease
    },
    set lease(value: V1Lease | undefined) {
      version += 1
      lease = value && { ...value, metadata: { resourceVersion: String(version) } }
    },
  }
  const answer = async () => {
    if (fake.isMute) await new Promise(() => {})
    if (fake.isDown) throw new ApiError(undefined, 'ECONNREFUSED')
  }
  const write = (spec: V1Lease['spec']) => {
    fake.lease = { ...(spec ? { spec } : {}) }
    fake.writes.push(spec?.holderIdentity ?? '')
    return lease!
  }
  const client: LeaseClient = {
    async read() {
      await answer()
      return lease
    },
    async create(spec) {
      await answer()
      if (lease) throw new ApiError(409, 'AlreadyExists')
      return write(spec)
    },
    async replace(next) {
      await answer()
      if (next.metadata?.resourceVersion !== lease?.metadata?.resourceVersion)
        throw new ApiError(409, 'Conflict')
      return write(next.spec)
    },
  }
  return Object.assign(fake, { client })
}

function candidate(identity: string, leases: LeaseClient, more: Partial<LeaderElectionOptions> = {}) {
  const ending = new AbortController()
  const holders: string[] = []
  const state = { isLeading: false, signal: undefined as AbortSignal | undefined }
  const election = createLeaderElection({
    leases,
    identity,
    leaseMs: 1200,
    renewDeadlineMs: 800,
    retryMs: 60,
    onHolder: (holder) => holders.push(holder),
    ...more,
  })
  const outcome = election.run(async (signal) => {
    state.isLeading = true
    state.signal = signal
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
    state.isLeading = false
  }, ending.signal)
  return { election, ending, outcome, holders, state }
}

describe('an election', () => {
  it('has the first lead, with times of six digits, and the others wait', async () => {
    const leases = fakeLeases()
    const a = candidate('a', leases.client)
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    const b = candidate('b', leases.client)
    await sleep(1500)
    expect([a.state.isLeading, b.state.isLeading]).toEqual([true, false])
    expect(leases.writes.every((holder) => holder === 'a')).toBe(true)
    expect(JSON.stringify(leases.lease)).toMatch(/"renewTime":"[^"]+\.\d{6}Z"/)
    expect(leases.lease?.spec).toMatchObject({ leaseDurationSeconds: 2, leaseTransitions: 0 })
    a.ending.abort()
    expect(await a.outcome).toBe('stopped')
    await expect.poll(() => b.state.isLeading, patient).toBe(true)
    expect(leases.lease?.spec?.leaseTransitions).toBe(1)
    expect(b.holders).toEqual(['a', 'b'])
    b.ending.abort()
    await b.outcome
    expect(leases.lease?.spec?.holderIdentity).toBe('')
  })

  it('K17: takes over from a holder that is gone without a word, by its own clock whatever the Lease says', async () => {
    const leases = fakeLeases()
    const inAnHour = new Date(Date.now() + 3_600_000)
    leases.lease = {
      spec: { holderIdentity: 'gone', leaseDurationSeconds: 0, renewTime: inAnHour, acquireTime: inAnHour },
    } as V1Lease
    const begun = performance.now()
    const a = candidate('a', leases.client)
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    expect(performance.now() - begun).toBeGreaterThan(1190)
    a.ending.abort()
    await a.outcome
  })

  it('K16: never lets two lead, however they fight for it', async () => {
    const leases = fakeLeases()
    const all = Array.from({ length: 5 }, (_, number) => candidate(String(number), leases.client))
    const most: number[] = []
    for (let round = 0; round < 20; round++) {
      await sleep(25)
      most.push(all.filter(({ election }) => election.isLeading()).length)
    }
    expect(Math.max(...most)).toBe(1)
    for (const each of all) each.ending.abort()
    await Promise.all(all.map(({ outcome }) => outcome))
  })

  it.each(['isDown', 'isMute'] as const)(
    'is lost when the Lease cannot be renewed in time: %s',
    async (fault) => {
      const leases = fakeLeases()
      const failures: unknown[] = []
      const a = candidate('a', leases.client, { onFailure: (error) => failures.push(error) })
      await expect.poll(() => a.state.isLeading, patient).toBe(true)
      leases[fault] = true
      const begun = performance.now()
      expect(await a.outcome).toBe('lost')
      expect(performance.now() - begun).toBeLessThan(1200) // before anybody else may lead
      expect(a.election.isLeading()).toBe(false)
      expect(a.state.signal?.aborted).toBe(true)
      expect(failures.length > 0).toBe(fault === 'isDown')
    },
  )

  it('survives an API server that is away for less than the deadline', async () => {
    const leases = fakeLeases()
    const a = candidate('a', leases.client)
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    leases.isDown = true
    await sleep(100)
    leases.isDown = false
    await sleep(300)
    expect([a.state.isLeading, a.election.isLeading()]).toEqual([true, true])
    a.ending.abort()
    await a.outcome
  })

  it('K16: is lost at once when another has the Lease, without a write', async () => {
    const leases = fakeLeases()
    const a = candidate('a', leases.client)
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    leases.lease = { spec: { holderIdentity: 'b', leaseDurationSeconds: 15 } }
    const writes = leases.writes.length
    expect(await a.outcome).toBe('lost')
    expect(leases.writes).toHaveLength(writes)
  })

  it('K16: does not lead any more after a freeze, before it could write', async () => {
    const leases = fakeLeases()
    let frozenMs = 0
    const a = candidate('a', leases.client, { now: () => performance.now() + frozenMs })
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    frozenMs = 20_000
    expect(a.election.isLeading()).toBe(false)
    expect(await a.outcome).toBe('lost')
  })

  it('K18: makes the Lease anew when somebody deleted it, and reads one that is garbage', async () => {
    const leases = fakeLeases()
    leases.lease = {}
    const a = candidate('a', leases.client)
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    leases.lease = undefined
    await expect.poll(() => leases.lease?.spec?.holderIdentity, patient).toBe('a')
    expect(a.state.isLeading).toBe(true)
    a.ending.abort()
    await a.outcome
  })

  it('waits for an API server at the start', async () => {
    const leases = fakeLeases()
    leases.isDown = true
    const a = candidate('a', leases.client)
    await sleep(500)
    expect(a.state.isLeading).toBe(false)
    leases.isDown = false
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    a.ending.abort()
    expect(await a.outcome).toBe('stopped')
  })

  it('goes on leading where one request is never answered and the others are', async () => {
    const leases = fakeLeases()
    let reads = 0
    const read = async () => {
      reads += 1
      if (reads === 3) await new Promise(() => {})
      return leases.client.read()
    }
    const more = { renewDeadlineMs: 4000, leaseMs: 6000 }
    const a = candidate('a', { ...leases.client, read }, more)
    await expect.poll(() => reads, patient).toBeGreaterThan(20)
    expect([a.state.isLeading, a.election.isLeading()]).toEqual([true, true])
    a.ending.abort()
    expect(await a.outcome).toBe('stopped')
  })

  it.each(['before it leads', 'while it leads'])(
    'ends soon when it is stopped %s and nothing is answered any more',
    async (when) => {
      const leases = fakeLeases()
      leases.isMute = when === 'before it leads'
      const a = candidate('a', leases.client, { renewDeadlineMs: 60_000, leaseMs: 90_000 })
      if (!leases.isMute) await expect.poll(() => a.state.isLeading, patient).toBe(true)
      leases.isMute = true
      await sleep(200)
      a.ending.abort()
      leases.isMute = false // from now on; what was asked before stays without an answer
      expect(await Promise.race([a.outcome, sleep(5000)])).toBe('stopped')
    },
  )

  it('does not take the Lease again with an answer that comes after it was given back', async () => {
    const leases = fakeLeases()
    const held = Promise.withResolvers<void>()
    let isHolding = false
    let isHeld = false
    const read = async () => {
      if (isHolding && !isHeld) {
        isHeld = true
        await held.promise
      }
      return leases.client.read()
    }
    const a = candidate('a', { ...leases.client, read })
    await expect.poll(() => a.state.isLeading, patient).toBe(true)
    isHolding = true
    await expect.poll(() => isHeld, patient).toBe(true)
    a.ending.abort()
    expect(await a.outcome).toBe('stopped')
    held.resolve()
    await sleep(50)
    expect(leases.lease?.spec?.holderIdentity).toBe('')
  })

  it('says once for a while that the API server is away, and again the next time', async () => {
    const leases = fakeLeases()
    const failures: unknown[] = []
    leases.lease = { spec: { holderIdentity: 'b', leaseDurationSeconds: 15 } }
    const a = candidate('a', leases.client, { onFailure: (error) => failures.push(error), retryMs: 5 })
    for (const times of [1, 2]) {
      leases.isDown = true
      await expect.poll(() => failures.length, patient).toBe(times)
      await sleep(100)
      expect(failures).toHaveLength(times)
      leases.isDown = false
      await sleep(100)
    }
    a.ending.abort()
    await a.outcome
  })

  it('ends without a word when it is stopped before it ever led', async () => {
    const leases = fakeLeases()
    leases.lease = { spec: { holderIdentity: 'b', leaseDurationSeconds: 15 } }
    const a = candidate('a', leases.client)
    await sleep(50)
    a.ending.abort()
    expect(await a.outcome).toBe('stopped')
    expect(leases.writes).toEqual([])
  })
})
