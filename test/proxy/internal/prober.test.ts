import { expect, it } from 'vitest'
import { dueForProbe, probeAfterMs, runProber } from '../../../proxy/internal/prober.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'

const route = (more: Partial<UpstreamRoute> = {}) =>
  ({ namespace: 'default', name: 'hub', mode: 'Active', ...more }) as UpstreamRoute
const now = 10 * probeAfterMs

it.each([
  ['one that was not asked with its document', route(), undefined, undefined, true],
  ['one that was asked just now', route(), now - 1, undefined, false],
  ['one that nobody asked for ten minutes', route(), now - probeAfterMs, undefined, true],
  ['one that was probed just now, whatever came of it', route(), undefined, now - 1, false],
  ['one that is CacheOnly', route({ mode: 'CacheOnly' }), undefined, undefined, false],
  ['one that must not be asked', route({ problem: 'no Secret' }), undefined, undefined, false],
])('decides on %s', (_name, upstream, askedAt, triedAt, isDue) => {
  const found = dueForProbe(
    { upstreams: () => [upstream], askedAt: () => askedAt },
    { get: () => triedAt },
    now,
  )
  expect(found).toEqual(isDue ? [upstream] : [])
})

it('probes each once, and nothing where another proxy does', async () => {
  const ending = new AbortController()
  const upstreams = Array.from({ length: 20 }, (_none, index) => route({ name: `u${index}` }))
  const probed: string[] = []
  let mayProbe = false
  const running = runProber(
    {
      upstreams: () => upstreams,
      askedAt: () => undefined,
      probe: async ({ name }) => {
        probed.push(name)
      },
      mayProbe: async () => mayProbe,
      now: () => 0,
      tickMs: 5,
    },
    ending.signal,
  )
  await new Promise((resolve) => setTimeout(resolve, 30))
  expect(probed).toEqual([])
  mayProbe = true
  await new Promise((resolve) => setTimeout(resolve, 50))
  ending.abort()
  await running
  expect(probed.toSorted()).toEqual(upstreams.map(({ name }) => name).toSorted())
})
