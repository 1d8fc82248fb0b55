import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { createBreaker, StoreUnavailableError } from '../../../proxy/store/breaker.ts'

class Refused extends Error {}
class Trouble extends Error {}

function rig({ failuresToOpen = 3 } = {}) {
  const changes: boolean[] = []
  let healthy = false
  let probes = 0
  const breaker = createBreaker({
    name: 'it',
    probe: async () => {
      probes += 1
      if (!healthy) throw new Trouble()
    },
    probeMs: 200,
    isTrouble: (error) => error instanceof Trouble,
    failuresToOpen,
    onChange: (available) => changes.push(available),
    random: () => 0.5,
  })
  onTestFinished(() => breaker.close())
  const fail = () => breaker.run(() => Promise.reject(new Trouble()), 1000)
  const heal = () => {
    healthy = true
  }
  return { breaker, changes, fail, heal, probes: () => probes }
}

it('gives what the work gives', async () => {
  expect(await rig().breaker.run(async () => 7, 1000)).toBe(7)
})

it('opens after so many failures in a row, and then asks nobody', async () => {
  const { breaker, changes, fail } = rig()
  await expect(fail()).rejects.toThrow(StoreUnavailableError)
  await breaker.run(async () => 1, 1000)
  for (let n = 0; n < 3; n++) await expect(fail()).rejects.toThrow(StoreUnavailableError)
  expect([breaker.available, changes]).toEqual([false, [false]])
  let asked = false
  const work = async () => {
    asked = true
  }
  await expect(breaker.run(work, 1000)).rejects.toThrow(StoreUnavailableError)
  expect(asked).toBe(false)
})

it('does not count what never came as far as asking', async () => {
  const { breaker } = rig({ failuresToOpen: 1 })
  const work = () => {
    throw new Trouble()
  }
  await expect(breaker.run(work, 1000)).rejects.toThrow(Trouble)
  expect(breaker.available).toBe(true)
})

it('opens at once when an answer does not come in time, and aborts the asking', async () => {
  const { breaker } = rig()
  const startedAt = performance.now()
  let aborted = false
  const never = (signal: AbortSignal) =>
    new Promise(() => signal.addEventListener('abort', () => (aborted = true)))
  const all = await Promise.allSettled([1, 2, 3].map(() => breaker.run(never, 100)))
  expect(all.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
  expect(performance.now() - startedAt).toBeLessThan(300)
  expect([breaker.available, aborted]).toEqual([false, true])
})

it('counts no answer as late that we were too busy to read', async () => {
  const { breaker } = rig()
  const answer = breaker.run(async () => {
    await sleep(20)
    return 'in time'
  }, 50)
  await sleep(1)
  for (const until = performance.now() + 150; performance.now() < until; );
  expect(await answer).toBe('in time')
})

it('lets pass what says nothing of the health', async () => {
  const { breaker } = rig({ failuresToOpen: 1 })
  await expect(breaker.run(() => Promise.reject(new Refused()), 1000)).rejects.toThrow(Refused)
  expect(breaker.available).toBe(true)
})

it('closes by itself once a probe was answered', async () => {
  const { breaker, changes, fail, heal, probes } = rig({ failuresToOpen: 1 })
  await expect(fail()).rejects.toThrow(StoreUnavailableError)
  await expect.poll(probes, { timeout: 2_000 }).toBe(2)
  expect(breaker.available).toBe(false)
  heal()
  await expect.poll(() => breaker.available, { timeout: 2_000 }).toBe(true)
  expect(changes).toEqual([false, true])
})
