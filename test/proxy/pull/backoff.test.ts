import { expect, it } from 'vitest'
import { createBackoff } from '../../../proxy/pull/backoff.ts'

it('doubles from a second to thirty while what is tried after it fails again', () => {
  let clock = 0
  const backoff = createBackoff(() => clock)
  const waits = Array.from({ length: 7 }, () => {
    backoff.failed('a')
    const wait = backoff.until('a') - clock
    clock += wait
    return wait
  })
  expect(waits).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000])
})

it('counts what failed together once', () => {
  const backoff = createBackoff(() => 5)
  for (let i = 0; i < 100; i++) backoff.failed('a')
  expect(backoff.until('a')).toBe(1_005)
})

it('is over at once when something succeeds, and never shorter than was asked for', () => {
  const backoff = createBackoff(() => 0)
  backoff.failed('a', 7_000)
  backoff.failed('a')
  expect(backoff.until('a')).toBe(7_000)
  backoff.succeeded('a')
  expect(backoff.until('a')).toBe(0)
})
