import { expect, it } from 'vitest'
import { createDamper } from '../../../operator/proxies/damper.ts'

function scene({ baseMs = 10, maxMs = 80 } = {}) {
  let at = 0
  const taken: (string | undefined)[] = []
  const damper = createDamper<string>({
    ...{ baseMs, maxMs },
    now: () => at,
    isSame: (a, b) => a === b,
    onTaken: (key) => taken.push(damper.read(key)),
  })
  return {
    ...{ damper, taken },
    pass: (ms: number) => {
      at += ms
    },
  }
}

it('takes the first at once, the same never again, and another after a while', () => {
  const { damper, taken, pass } = scene()
  damper.offer('a', 'up')
  damper.offer('a', 'up')
  pass(11)
  damper.offer('a', 'down')
  expect(taken).toEqual(['up', 'down'])
})

it('takes the last that was offered in between, by itself', async () => {
  const { damper, taken } = scene()
  damper.offer('a', 'up')
  damper.offer('a', 'down')
  damper.offer('a', 'sideways')
  expect(taken).toEqual(['up'])
  await expect.poll(() => taken).toEqual(['up', 'sideways'])
})

it('takes nothing where it came back to what it was', async () => {
  const { damper, taken } = scene()
  damper.offer('a', 'up')
  damper.offer('a', 'down')
  damper.offer('a', 'up')
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(taken).toEqual(['up'])
})

it('takes what is urgent at once', () => {
  const { damper, taken } = scene()
  damper.offer('a', 'up')
  damper.offer('a', 'down', { isUrgent: true })
  expect(taken).toEqual(['up', 'down'])
})

it('takes fewer the longer it goes on, down to one in the longest while, and is as quick as before after a quiet one', () => {
  const { damper, taken, pass } = scene({ baseMs: 10_000, maxMs: 80_000 })
  const flap = (ms: number) => {
    for (let passed = 0; passed < ms; passed += 1000) {
      pass(1000)
      damper.offer('a', taken.at(-1) === 'up' ? 'down' : 'up')
    }
  }
  damper.offer('a', 'up')
  flap(3_600_000)
  expect(taken.length).toBeLessThan(3600 / 80 + 6)
  expect(taken.length).toBeGreaterThan(30)
  pass(200_000)
  const before = taken.length
  damper.offer('a', 'quiet')
  pass(11_000)
  damper.offer('a', 'again')
  expect(taken.length).toBe(before + 2)
  damper.close()
})
