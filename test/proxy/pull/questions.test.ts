import { beforeEach, describe, expect, it } from 'vitest'
import { createFleetFlight } from '../../../proxy/pull/fleet-flight.ts'
import { createHealth } from '../../../proxy/pull/health.ts'
import { createQuestions, type Place } from '../../../proxy/pull/questions.ts'
import { createLocalLeases, type Leases } from '../../../proxy/store/leases.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'
import { recorder } from './fill-rig.ts'

const place = {
  repository: 'app',
  upstream: { id: 'u', origin: 'https://one.example', namespace: 'default', name: 'hub', mode: 'Active' },
} as Place

let leases: Leases
let now: number
let asked: number
let answer: UpstreamError

beforeEach(() => {
  leases = createLocalLeases(() => now) // nobody's answer becomes too old while a test is kept waiting
  now = 1_000
  asked = 0
})

function replica() {
  const observer = recorder([])
  const client = {
    async request() {
      asked++
      await new Promise((resolve) => setTimeout(resolve, 100))
      throw answer
    },
  }
  const health = createHealth({ now: () => now, observer })
  return createQuestions({ client: client as never, health, observer, flight: createFleetFlight(leases) })
}

const head = (at: ReturnType<typeof replica>, tag: string) => at.headManifest(place, tag, 5_000)

describe('replicas that ask one upstream', () => {
  it('leave an upstream alone for as long as it told another replica', async () => {
    const [a, b] = [replica(), replica()]
    answer = new UpstreamError('rate-limited', 'too many', { status: 429, retryAfterSeconds: 20 })
    const both = await Promise.allSettled([head(a, 'one'), head(b, 'one')])
    expect([asked, ...both.map(({ status }) => status)]).toEqual([1, 'rejected', 'rejected'])
    await expect(head(b, 'two')).rejects.toThrow('asked not to be asked yet')
    await expect(head(a, 'three')).rejects.toThrow('asked not to be asked yet')
    expect(asked).toBe(1)
  })

  it('ask an upstream again when its time is over, whatever replicas told each other of it meanwhile', async () => {
    const [a, b] = [replica(), replica()]
    answer = new UpstreamError('rate-limited', 'too many', { status: 429, retryAfterSeconds: 20 })
    await Promise.allSettled([head(a, 'one'), head(b, 'one')])
    now += 19_500
    for (const tag of ['two', 'three']) await Promise.allSettled([head(a, tag), head(b, tag)])
    now += 500
    for (const one of [b, a]) await expect(head(one, 'four')).rejects.toThrow('too many')
  })

  it('ask an upstream by themselves that gave another replica no answer', async () => {
    const [a, b] = [replica(), replica()]
    answer = new UpstreamError('unavailable', 'cut')
    await Promise.allSettled([head(a, 'one'), head(b, 'one')])
    await Promise.allSettled([head(b, 'two')])
    expect(asked).toBe(2)
  })
})
