import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createTurns } from '../../../proxy/pull/turns.ts'

it('lets a few go on in each turn of the event loop, first come first served', async () => {
  const turns = createTurns(2)
  const gone: number[] = []
  for (const number of [1, 2, 3, 4, 5]) void turns(100).then(() => gone.push(number))
  expect(gone).toEqual([])
  await setImmediate()
  expect(gone).toEqual([1, 2])
  void turns(100).then(() => gone.push(6))
  await setImmediate()
  expect(gone).toEqual([1, 2, 3, 4])
  await setImmediate()
  expect(gone).toEqual([1, 2, 3, 4, 5, 6])
  await setImmediate()
  void turns(100).then(() => gone.push(7))
  await setImmediate()
  expect(gone.at(-1)).toBe(7)
})

it('gives half of a turn to those with the least left, and keeps nobody waiting for them', async () => {
  const turns = createTurns(2)
  const gone: number[] = []
  for (const left of [Infinity, 500, 400, 30, 20, 10]) void turns(left).then(() => gone.push(left))
  await setImmediate()
  expect(gone).toEqual([Infinity, 10])
  await setImmediate()
  expect(gone).toEqual([Infinity, 10, 500, 20])
  await setImmediate()
  expect(gone).toEqual([Infinity, 10, 500, 20, 400, 30])
})
