import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import {
  dueForProbe,
  type Met,
  type ProberOptions,
  probeAfterMs,
  runProber,
} from '../../../proxy/internal/prober.ts'
import type { Used } from '../../../proxy/internal/upstream-words.ts'
import type { UpstreamRoute } from '../../../proxy/routes.ts'

const route = (more: Partial<UpstreamRoute> = {}) =>
  ({ namespace: 'default', name: 'hub', mode: 'Active', ...more }) as UpstreamRoute
const used = (name: string, revision = '1'): Used => ({ route: route({ name }), revision })
const now = 10 * probeAfterMs

it.each<[string, UpstreamRoute, number | undefined, number | undefined, boolean]>([
  ['one that was not asked with its document', route(), undefined, undefined, true],
  ['one that was asked just now', route(), now - 1, undefined, false],
  ['one that nobody asked for ten minutes', route(), now - probeAfterMs, undefined, true],
  ['one that was probed just now, whatever came of it', route(), undefined, now - 1, false],
  ['one that is CacheOnly', route({ mode: 'CacheOnly' }), undefined, undefined, false],
  ['one that must not be asked', route({ problem: 'no Secret' }), undefined, undefined, false],
])('decides on %s', (_name, upstream, askedAt, triedAt, isDue) => {
  const all = [{ route: upstream, revision: '1' }]
  const met = new Map<string, Met>([['default/hub 1', { since: 0, triedAt }]])
  const found = dueForProbe({ upstreams: () => all, askedAt: () => askedAt }, met, now)
  expect(found).toEqual(isDue ? all : [])
})

it('has those first that were never asked, the newest before the others, and then whoever waits longest', () => {
  const names = ['lately', 'long-ago', 'known', 'new']
  const ago: Readonly<Record<string, number>> = { lately: 11, 'long-ago': 30 }
  const met = new Map(
    names.map((name): [string, Met] => [
      `default/${name} 1`,
      { since: name === 'new' ? now - 1 : 0, triedAt: undefined },
    ]),
  )
  const upstreams = () => names.map((name) => used(name))
  const askedAt = ({ name }: UpstreamRoute) => (name in ago ? now - ago[name]! * 60_000 : undefined)
  const found = dueForProbe({ upstreams, askedAt }, met, now)
  expect(found.map(({ route: { name } }) => name)).toEqual(['new', 'known', 'long-ago', 'lately'])
})

/** Probes what is in `all`, until it is stopped. */
function scene(all: { current: readonly Used[] }, more: Pick<ProberOptions, 'probe' | 'mayProbe'>) {
  const ending = new AbortController()
  const options = { upstreams: () => all.current, askedAt: () => undefined, now: () => 0, tickMs: 5 }
  const running = runProber({ ...options, ...more }, ending.signal)
  return async () => {
    ending.abort()
    await running
  }
}

it('probes each once, and nothing where another proxy does', async () => {
  const all = { current: Array.from({ length: 20 }, (_none, index) => used(`u${index}`)) }
  const probed: string[] = []
  let mayProbe = false
  const stop = scene(all, {
    probe: async ({ name }) => void probed.push(name),
    mayProbe: async () => mayProbe,
  })
  await sleep(30)
  expect(probed).toEqual([])
  mayProbe = true
  await expect.poll(() => probed.length).toBeGreaterThanOrEqual(20)
  await sleep(30)
  await stop()
  expect(probed.toSorted()).toEqual(all.current.map(({ route: { name } }) => name).toSorted())
})

it('asks with what is served when its turn comes, not what was when it began to wait', async () => {
  const hanging = Array.from({ length: 16 }, (_none, index) => used(`away${index}`))
  const hub = used('hub')
  const all: { current: readonly Used[] } = { current: hanging }
  const probed: UpstreamRoute[] = []
  const answers: (() => void)[] = []
  const stop = scene(all, {
    probe: (upstream) => {
      probed.push(upstream)
      return new Promise((resolve) => answers.push(resolve))
    },
    mayProbe: async () => true,
  })
  await expect.poll(() => probed.length).toBe(16)
  all.current = [...hanging, hub, used('gone')]
  await sleep(30)
  const rotated = used('hub', '2')
  all.current = [...hanging, rotated]
  answers[0]!()
  await expect.poll(() => probed.length).toBe(17)
  expect(probed[16]).toBe(rotated.route)
  for (const answer of answers) answer()
  await sleep(30)
  await stop()
  expect(probed.length).toBe(17)
})

it('asks a new one while others do not answer, and not again one that is the same but was read anew', async () => {
  const all: { current: readonly Used[] } = { current: [used('away')] }
  const probed: string[] = []
  const stop = scene(all, {
    probe: ({ name }) => {
      probed.push(name)
      return new Promise(() => {})
    },
    mayProbe: async () => true,
  })
  await expect.poll(() => probed).toEqual(['away'])
  all.current = [used('away'), used('new')]
  await expect.poll(() => probed).toEqual(['away', 'new'])
  await sleep(30)
  await stop()
  expect(probed).toEqual(['away', 'new'])
})
