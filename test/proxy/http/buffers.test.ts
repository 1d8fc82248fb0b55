import { expect, it } from 'vitest'
import { createBuffers, defaultTiers } from '../../../proxy/http/buffers.ts'

const tiers = [
  { size: 1000, count: 1 },
  { size: 100, count: 2 },
]

it('lends the largest that is left, and each but once', () => {
  const buffers = createBuffers(tiers)
  const lent = [1, 2, 3].map(() => buffers.take())
  expect(lent.map((buffer) => buffer.length)).toEqual([1000, 100, 100])
  expect(new Set(lent).size).toBe(3)
})

it('lends again what was given back', () => {
  const buffers = createBuffers(tiers)
  const first = buffers.take()
  buffers.give(first)
  expect(buffers.take()).toBe(first)
})

it('lends a small one where all are lent, and does not keep it', () => {
  const buffers = createBuffers(tiers)
  const lent = [1, 2, 3].map(() => buffers.take())
  const small = buffers.take()
  expect(small.length).toBe(4096)
  buffers.give(small)
  expect(buffers.take()).not.toBe(small)
  buffers.give(lent[0]!)
  expect(buffers.take()).toBe(lent[0])
})

it('lends no more than 96 MiB beside the small ones', () => {
  expect(defaultTiers.reduce((sum, { size, count }) => sum + size * count, 0)).toBe(96 * 1024 * 1024)
})
