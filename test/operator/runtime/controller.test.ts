import { setImmediate } from 'node:timers/promises'
import { expect, it } from 'vitest'
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
