import { expect, it, onTestFinished } from 'vitest'
import { createRedisChanges, type Subscribe } from '../../../proxy/store/redis-changes.ts'

/** Several replicas over one Redis that is nothing but its channels, on a clock of the test's own. */
function rig() {
  let now = 0
  const subscribers = new Set<Parameters<Subscribe>[0]>()
  const cut = new Set<Parameters<Subscribe>[0]>()
  let isAway = false
  const redis = {
    async send(_: string, ...[channel, message]: readonly (string | number)[]) {
      if (isAway) throw new Error('away')
      for (const one of subscribers) {
        if (!cut.has(one) && one.channels.includes(String(channel)))
          one.onMessage(String(channel), String(message))
      }
      return 1
    },
  }
  function replica() {
    let own: Parameters<Subscribe>[0] | undefined
    const news: string[] = []
    const changes = createRedisChanges({
      redis,
      monotonicNow: () => now,
      subscribe(options) {
        own = options
        subscribers.add(options)
        return { restart: () => {}, close: () => subscribers.delete(options) }
      },
    })
    onTestFinished(changes.close)
    changes.listen((key) => news.push(key))
    return {
      ...changes,
      news,
      pulse: () => own!.onReady(),
      lose: () => own!.onLost(),
      cut: () => cut.add(own!),
    }
  }
  const setAway = (is: boolean) => {
    isAway = is
  }
  return { replica, pass: (ms: number) => (now += ms), setAway }
}

it('tells the others, and not the one who announces', () => {
  const { replica } = rig()
  const [one, two, three] = [replica(), replica(), replica()]
  one.announce('a/b c')
  expect([one.news, two.news, three.news]).toEqual([[], ['a/b c'], ['a/b c']])
})

it('has no epoch before its first pulse came back', () => {
  const { replica } = rig()
  const one = replica()
  expect(one.epoch()).toBeUndefined()
  one.pulse()
  expect(one.epoch()).toBe(1)
})

it('keeps its epoch as long as pulses come back, and loses it a second after the last', () => {
  const { replica, pass } = rig()
  const one = replica()
  for (let n = 0; n < 10; n++) {
    one.pulse()
    pass(900)
    expect(one.epoch()).toBe(1)
  }
  pass(100)
  expect(one.epoch()).toBeUndefined()
})

it('has another epoch after a gap, however short the lost connection was away', () => {
  const { replica, pass } = rig()
  const one = replica()
  one.pulse()
  pass(10)
  one.lose()
  expect(one.epoch()).toBeUndefined()
  one.pulse()
  expect(one.epoch()).toBe(2)
})

it('has no epoch where only its own hearing is cut', () => {
  const { replica, pass } = rig()
  const one = replica()
  one.pulse()
  one.cut()
  one.pulse()
  expect(one.epoch()).toBe(1)
  pass(1_000)
  one.pulse()
  expect(one.epoch()).toBeUndefined()
})

it('tells later what Redis did not take: the others believe their memory all the while', async () => {
  const { replica, setAway } = rig()
  const [one, two] = [replica(), replica()]
  setAway(true)
  for (let n = 0; n < 20_010; n++) one.announce(`key ${n}`)
  await Promise.resolve()
  setAway(false)
  expect(two.news).toEqual([])
  for (let n = 0; n < 50; n++) {
    one.pulse()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(two.news).toHaveLength(20_000)
  expect(new Set(two.news).size).toBe(20_000)
  expect(two.news).toContain('key 20009')
})
