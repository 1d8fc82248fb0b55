import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { createTurns } from '../../../proxy/pull/turns.ts'

it('lets a few go on in each turn of the event loop, first come first served', async () => {
  const turns = createTurns(2)
  const gone: number[] = []
  for (const number of [1, 2, 3, 4, 5]) void turns().then(() => gone.push(number))
  expect(gone).toEqual([])
  await setImmediate()
  expect(gone).toEqual([1, 2])
  void turns().then(() => gone.push(6))
  await setImmediate()
  expect(gone).toEqual([1, 2, 3, 4])
  await setImmediate()
  expect(gone).toEqual([1, 2, 3, 4, 5, 6])
  await setImmediate()
  void turns().then(() => gone.push(7))
  await setImmediate()
  expect(gone.at(-1)).toBe(7)
})
