import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import { createController } from '../../../operator/runtime/controller.ts'

it('leaves time for the Lease between any number of keys for which there is nothing to write', async () => {
  let looked = 0
  const reconcile = async () => {
    looked += 1
  }
  const { queue, run } = createController({ reconcile, workers: 2 })
  for (let key = 0; key < 100; key++) queue.add(String(key))
  const ending = new AbortController()
  const running = run(ending.signal)
  await setImmediate()
  await setImmediate()
  const soon = looked
  while (looked < 100) await setImmediate()
  ending.abort()
  await running
  expect(soon).toBeLessThan(20)
})

it('does not ask in a circle where an API server wants to be left alone for a month', async () => {
  let asked = 0
  const reconcile = async () => {
    asked += 1
    throw new ApiError(503, 'ServiceUnavailable', { retryAfterSeconds: 3_000_000 })
  }
  const { queue, run } = createController({ reconcile, workers: 1 })
  const ending = new AbortController()
  const running = run(ending.signal)
  queue.add('a')
  await sleep(200)
  ending.abort()
  await running
  expect(asked).toBe(1)
})
