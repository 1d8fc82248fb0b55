import { afterEach, expect, it } from 'vitest'
import { createFleet } from '../../../operator/proxies/fleet.ts'
import { followProxies } from '../../../operator/proxies/follow.ts'
import { ApiError } from '../../../operator/runtime/api-error.ts'
import type { Source } from '../../../operator/runtime/reflector.ts'

const endings: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const end of endings.splice(0)) await end()
})

/** A fleet over endpoints that cannot be read until they may be. */
function scene() {
  let mayRead = false
  const slices: Source = {
    name: 'endpoints of headwater-system/headwater-proxy',
    async list() {
      if (!mayRead) throw new ApiError(403, 'Forbidden')
      return { items: [], resourceVersion: '1', continueToken: undefined }
    },
    watch: (_options, _onEvent, signal) =>
      new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
  }
  const fleet = createFleet({ now: () => performance.now() })
  const told: string[] = []
  fleet.onChange((kind, key) => told.push(`${kind} ${key}`))
  const ending = new AbortController()
  const following = followProxies({ fleet, slices, urls: [], sign: () => '' }, ending.signal)
  endings.push(async () => {
    ending.abort()
    await following
  })
  return {
    told,
    programmed: () => fleet.programmed('Upstream', 'a/hub', 'r1', undefined),
    permit: () => {
      mayRead = true
    },
  }
}

it('says that it is not known which proxies there are while their endpoints cannot be read, and no longer', async () => {
  const { told, programmed, permit } = scene()
  expect(programmed()).toMatchObject({ status: 'Unknown', reason: 'NotAsked' })
  await expect.poll(() => told).toEqual(['Upstream a/hub'])
  const { status, reason, message } = programmed()
  expect([status, reason]).toEqual(['Unknown', 'ProxiesUnknown'])
  expect(message).toContain('endpoints of headwater-system/headwater-proxy')
  permit()
  await expect.poll(() => programmed().reason, { timeout: 10_000 }).toBe('NoProxies')
  expect(told).toEqual(['Upstream a/hub', 'Upstream a/hub'])
})
