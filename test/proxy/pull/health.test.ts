import { describe, expect, it } from 'vitest'
import { createHealth } from '../../../proxy/pull/health.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'

const upstream = { id: 'u', namespace: 'default', name: 'hub' } as UpstreamRoute
const down = () => Promise.reject(new UpstreamError('unavailable', 'down'))
const up = () => Promise.resolve('yes')

function setUp() {
  const clock = { now: 1_000 }
  const states: string[] = []
  const observer = { breaker: (_upstream: string, state: string) => states.push(state) } as never
  return { clock, states, health: createHealth({ now: () => clock.now, observer }) }
}

async function failTimes(health: ReturnType<typeof createHealth>, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await expect(health.run(upstream, down)).rejects.toThrow('down')
}

describe('an upstream that fails', () => {
  it('is not asked what the cache can answer for 1 s, then 2 s, doubling to 30 s', async () => {
    const { clock, health } = setUp()
    const waits: number[] = []
    for (let i = 0; i < 8; i++) {
      await failTimes(health, 1)
      waits.push(health.revalidateAt(upstream) - clock.now)
      clock.now = health.revalidateAt(upstream)
      expect(health.revalidateAt(upstream)).toBe(0)
    }
    expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it('is asked at once again after it answered', async () => {
    const { health } = setUp()
    await failTimes(health, 3)
    await health.run(upstream, up)
    expect(health.revalidateAt(upstream)).toBe(0)
  })

  it('is asked by one cold request at a time once the breaker is open, and the others share its failure', async () => {
    const { states, health } = setUp()
    await failTimes(health, 5)
    let sent = 0
    const slowly = async () => {
      sent++
      await new Promise((resolve) => setTimeout(resolve, 20))
      return down()
    }
    const answers = await Promise.allSettled(Array.from({ length: 30 }, () => health.run(upstream, slowly)))
    expect(answers.every(({ status }) => status === 'rejected')).toBe(true)
    expect(sent).toBe(1)
    expect(states).toEqual(['open', 'half-open', 'open'])
  })

  it('lets the others go out themselves when the probe succeeds', async () => {
    const { states, health } = setUp()
    await failTimes(health, 5)
    let sent = 0
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        health.run(upstream, async () => {
          sent++
          return i
        }),
      ),
    )
    expect(answers).toEqual(Array.from({ length: 30 }, (_, i) => i))
    expect(sent).toBe(30)
    expect(states.at(-1)).toBe('closed')
  })

  it('is not sent anything before its own Retry-After has passed, of which a minute at most is believed', async () => {
    const { clock, health } = setUp()
    const throttled = () =>
      Promise.reject(new UpstreamError('rate-limited', 'slow down', { retryAfterSeconds: 300 }))
    await expect(health.run(upstream, throttled)).rejects.toMatchObject({ kind: 'rate-limited' })
    clock.now += 59_000
    await expect(health.run(upstream, up)).rejects.toMatchObject({
      kind: 'rate-limited',
      retryAfterSeconds: 1,
    })
    clock.now += 1_001
    expect(await health.run(upstream, up)).toBe('yes')
  })

  it('is not blamed for what we do not send', async () => {
    const { health } = setUp()
    const blocked = () => Promise.reject(new UpstreamError('blocked', 'not permitted'))
    await expect(health.run(upstream, blocked)).rejects.toThrow()
    expect(health.revalidateAt(upstream)).toBe(0)
  })
})
