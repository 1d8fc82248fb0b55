import { expect, it } from 'vitest'
import { createBuffers, defaultTiers } from '../../../proxy/http/buffers.ts'

const tiers = [
  { size: 1000, count: 1 },
  { size: 100, count: 2 },
]
const staying = new AbortController().signal

it('lends the largest that is left, and each but once', async () => {
  const buffers = createBuffers(tiers)
  const lent = await Promise.all([1, 2, 3].map(() => buffers.take(staying)))
  expect(lent.map((buffer) => buffer?.length)).toEqual([1000, 100, 100])
  expect(new Set(lent).size).toBe(3)
})

it('lends again what was given back', async () => {
  const buffers = createBuffers(tiers)
  const first = await buffers.take(staying)
  buffers.give(first!)
  expect(await buffers.take(staying)).toBe(first)
})

it('lets the next wait, first come first served', async () => {
  const buffers = createBuffers(tiers)
  const lent = await Promise.all([1, 2, 3].map(() => buffers.take(staying)))
  const order: number[] = []
  const waiting = [1, 2].map((who) => buffers.take(staying).then(() => order.push(who)))
  buffers.give(lent[1]!)
  buffers.give(lent[0]!)
  await Promise.all(waiting)
  expect(order).toEqual([1, 2])
})

it('gives a place up with its client, and the buffer to the next', async () => {
  const buffers = createBuffers(tiers)
  const lent = await Promise.all([1, 2, 3].map(() => buffers.take(staying)))
  const leaving = new AbortController()
  const gone = buffers.take(leaving.signal)
  const next = buffers.take(staying)
  leaving.abort()
  expect(await gone).toBeUndefined()
  buffers.give(lent[0]!)
  expect(await next).toBe(lent[0])
})

it('never lends more than 96 MiB', () => {
  expect(defaultTiers.reduce((sum, { size, count }) => sum + size * count, 0)).toBe(96 * 1024 * 1024)
})
