import { expect, it } from 'vitest'
import { parseRetryAfter } from '../../../proxy/upstream/retry-after.ts'

const now = Date.parse('2026-01-02T03:04:05Z')

it.each([
  ['7', 7],
  [' 7 ', 7],
  ['0', 1],
  ['1000000000', 300],
  ['9'.repeat(60), 300],
  ['Fri, 02 Jan 2026 03:04:35 GMT', 30],
  ['Fri, 02 Jan 2026 03:04:00 GMT', 1],
  ['Sun, 06 Nov 2094 08:49:37 GMT', 300],
  ['soon', undefined],
  ['-5', undefined],
  ['1.5', undefined],
  ['2026', 300],
  ['', undefined],
  ['Fri, 99 Foo', undefined],
  ['9'.repeat(100), undefined],
  [undefined, undefined],
])('U29: reads Retry-After %j as %j', (value, expected) => {
  expect(parseRetryAfter(value, now)).toBe(expected)
})
