import type { V1Lease } from '@kubernetes/client-node'
import { describe, expect, it } from 'vitest'
import {
  type Claim,
  createOperatorScope,
  judgeClaims,
  type Liveness,
} from '../../../operator/runtime/operator-scope.ts'

const claim = (namespace: string, more: Partial<Claim> = {}): Claim => ({
  ...{ namespace, uid: `uid-${namespace}`, creationTimestamp: '2026-01-02T00:00:00Z', version: '7' },
  ...{ holder: 'somebody', watched: [], isSettled: true, ...more },
})
const own = claim('own', { isSettled: false })

describe('an operator that begins', () => {
  it.each<[string, Partial<Claim>, Liveness, string]>([
    ['stops for one that has settled', {}, 'alive', 'stop'],
    ['waits for what may be the Lease of one that died', {}, 'fresh', 'wait'],
    ['goes over one that died', {}, 'dead', 'go'],
    ['goes over one that gave its Lease back', { holder: '' }, 'alive', 'go'],
    [
      'stops for an elder that looks, too',
      { isSettled: false, creationTimestamp: '2026-01-01T00:00:00Z' },
      'alive',
      'stop',
    ],
    [
      'waits for a younger that looks, too',
      { isSettled: false, creationTimestamp: '2026-01-03T00:00:00Z' },
      'alive',
      'wait',
    ],
    ['stops for a younger that has settled', { creationTimestamp: '2026-01-03T00:00:00Z' }, 'alive', 'stop'],
  ])('%s', (_title, more, liveness, wanted) => {
    expect(judgeClaims(own, [{ claim: claim('other', more), liveness }]).do).toBe(wanted)
  })

  it.each([
    [[], [], 'stop'],
    [['a'], [], 'stop'],
    [[], ['a'], 'stop'],
    [['a', 'b'], ['b', 'c'], 'stop'],
    [['a'], ['b'], 'go'],
    [['a'], ['a-b'], 'go'],
  ])('that watches %j beside one that watches %j: %s', (ours, theirs, wanted) => {
    const other = { claim: claim('other', { watched: theirs }), liveness: 'alive' as const }
    expect(judgeClaims({ ...own, watched: ours }, [other]).do).toBe(wanted)
  })

  it('lets one of two that look at the same time go, and never both', () => {
    const [a, b] = [claim('a', { isSettled: false }), claim('b', { isSettled: false })]
    const judge = (self: Claim, other: Claim) => judgeClaims(self, [{ claim: other, liveness: 'alive' }]).do
    expect([judge(a, b), judge(b, a)].toSorted()).toEqual(['stop', 'wait'])
  })
})

/** Leases of several installations; each scope writes its own with every look, as its election would. */
function installations(...names: string[]) {
  const leases = new Map<string, V1Lease>()
  let version = 1
  let clock = 0
  const made = names.map((namespace, at) => {
    const failures: unknown[] = []
    const waits: string[] = []
    const fault = { isRefused: false, isDead: false }
    const scope = createOperatorScope({
      ...{ namespace, watched: [], now: () => clock, onFailure: (error) => failures.push(error) },
      onWait: (other) => waits.push(other),
      list: async () => {
        if (fault.isRefused) throw new Error('403')
        return [...leases.values()]
      },
      sleep: async () => {
        clock += 1000
        for (const one of made) one.renew()
        await new Promise((resolve) => setTimeout(resolve, 1))
      },
    })
    const renew = () => {
      if (fault.isDead || !leases.has(namespace)) return
      write()
    }
    const write = () => {
      const creationTimestamp = new Date(1_700_000_000_000 + at * 1000)
      const metadata = { namespace, uid: namespace, creationTimestamp, annotations: scope.annotations() }
      leases.set(namespace, {
        metadata: { ...metadata, resourceVersion: String(++version) },
        spec: { holderIdentity: `${namespace}-pod` },
      })
    }
    return { scope, failures, waits, fault, renew, begin: write, end: () => leases.delete(namespace) }
  })
  return { made, clock: () => clock }
}

describe('the scope of an operator', () => {
  const { signal } = new AbortController()

  it('is settled at once where nobody else is', async () => {
    const { made, clock } = installations('one')
    made[0]!.begin()
    expect(await made[0]!.scope.settle(signal)).toBeUndefined()
    expect(clock()).toBe(0)
    expect(made[0]!.scope.annotations()).toEqual({
      ...{ 'headwater.dev/watched-namespaces': '*', 'headwater.dev/watching': 'settled' },
    })
  })

  it('stops the later of two, which learns who the other is', async () => {
    const { made } = installations('one', 'two')
    const [one, two] = made as [(typeof made)[0], (typeof made)[0]]
    two.begin()
    expect(await two.scope.settle(signal)).toBeUndefined()
    one.begin() // its Lease is the elder, yet it comes later
    expect(await one.scope.settle(signal)).toMatchObject({ namespace: 'two', holder: 'two-pod' })
    expect(one.waits).toEqual(['two'])
  })

  it('gives way to one of two that begin together', async () => {
    const { made } = installations('one', 'two')
    const [one, two] = made as [(typeof made)[0], (typeof made)[0]]
    one.begin()
    two.begin()
    const ending = two.scope.settle(signal).finally(() => two.end())
    expect([await one.scope.settle(signal), await ending]).toEqual([
      undefined,
      expect.objectContaining({ namespace: 'one' }),
    ])
  })

  it('begins after one that died, once its Lease has not changed for as long as it may be held', async () => {
    const { made, clock } = installations('one', 'two')
    const [one, two] = made as [(typeof made)[0], (typeof made)[0]]
    one.begin()
    await one.scope.settle(signal)
    one.renew()
    one.fault.isDead = true
    two.begin()
    expect(await two.scope.settle(signal)).toBeUndefined()
    expect(clock()).toBe(15_000)
  })

  it('writes nothing while the Leases cannot be read', async () => {
    const { made } = installations('one')
    const [one] = made as [(typeof made)[0]]
    one.begin()
    one.fault.isRefused = true
    const settling = one.scope.settle(signal)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(one.failures).toHaveLength(1) // not a line for each second
    one.fault.isRefused = false
    expect(await settling).toBeUndefined()
  })
})
