import { expect, it } from 'vitest'
import { killLoop } from '../../rig/kill-loop.ts'

it('kill -9 at ten random moments of pulls leaves nothing wrong behind, and the next pull works', async () => {
  const { findings, failures } = await killLoop(10)
  expect(findings).toEqual([])
  expect(failures).toEqual([])
})
