import { expect, it } from 'vitest'
import { freshForMs, freshness } from '../../../proxy/pull/freshness.ts'

const checkedAt = 1_000_000
const after = (policy: 'AfterValidity' | 'Always' | 'Never', ms: number) =>
  freshness({ policy, validitySeconds: 60 }, checkedAt, checkedAt + ms)

it.each([
  ['AfterValidity', 0, 'fresh'],
  ['AfterValidity', 59_999, 'fresh'],
  ['AfterValidity', 60_000, 'stale'],
  ['AfterValidity', 1e12, 'stale'],
  ['Always', 0, 'stale'],
  ['Never', 1e12, 'fresh'],
] as const)('%s after %i ms is %s', (policy, ms, expected) => {
  expect(after(policy, ms)).toBe(expected)
})

it('P11: is stale when it was checked in the future, as after a clock jumped back', () => {
  expect(after('AfterValidity', -1)).toBe('stale')
})

it('is stale when it is not known when it was checked', () => {
  expect(freshness({ policy: 'AfterValidity', validitySeconds: 86_400 }, 0, 1.7e12)).toBe('stale')
})

it('says how much longer it holds', () => {
  expect(freshForMs({ policy: 'AfterValidity', validitySeconds: 60 }, checkedAt, checkedAt + 10_000)).toBe(
    50_000,
  )
})
