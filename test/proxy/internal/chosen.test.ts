import { expect, it } from 'vitest'
import { createChosen } from '../../../proxy/internal/chosen.ts'
import { createLocalLeases } from '../../../proxy/store/leases.ts'

it('is chosen where the index is nobody else’s', async () => {
  expect(await createChosen(undefined, 'one').isChosen()).toBe(true)
})

it('chooses one of several, and another when that one ends', async () => {
  const leases = createLocalLeases(() => performance.now())
  const [first, second] = [createChosen(leases, 'one'), createChosen(leases, 'two')]
  const endings = [new AbortController(), new AbortController()]
  expect(await first.isChosen()).toBe(false)
  const running = first.run(endings[0]!.signal)
  await expect.poll(() => first.isChosen()).toBe(true)
  const waiting = second.run(endings[1]!.signal)
  expect(await second.isChosen()).toBe(false)
  endings[0]!.abort()
  await running
  await expect.poll(() => second.isChosen(), { timeout: 5000 }).toBe(true)
  expect(await first.isChosen()).toBe(false)
  endings[1]!.abort()
  await waiting
})

it('chooses nobody where leases cannot be reached', async () => {
  const away = async () => {
    throw new Error('away')
  }
  const chosen = createChosen({ claim: away, release: away }, 'one')
  const ending = new AbortController()
  const running = chosen.run(ending.signal)
  await new Promise((resolve) => setTimeout(resolve, 10))
  expect(await chosen.isChosen()).toBe(false)
  ending.abort()
  await running
})
