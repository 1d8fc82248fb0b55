import { describe, expect, it } from 'vitest'
import type { Verdict } from '../../operator/runtime/conditions.ts'
import { commonStatusOf, type Judged, no, unknown, yes } from '../../operator/status.ts'
import { plurals } from '../../operator/world.ts'
import { kstatus, type State } from '../rig/kubernetes/kstatus.ts'
import { createFakeCluster, type FakeCluster, resource, startFakeOperator } from './fake-cluster.ts'
import { seenRegistry } from './seen.ts'

const url = 'https://registry.example.com'
const upstream = (name: string, spec = {}) => resource('Upstream', name, { url, ...spec })
const registry = (name: string, spec = {}) =>
  resource('VirtualRegistry', name, { upstreams: [{ upstreamRef: { name: 'hub' } }], ...spec })
const policy = (spec: object) => resource('CleanupPolicy', 'it', spec)
const secret = (name: string, type: string, data: object = {}) => ({
  ...{ apiVersion: 'v1', kind: 'Secret', type, metadata: { name }, data },
})

async function settle(fake: FakeCluster): Promise<void> {
  const operator = startFakeOperator(fake)
  await operator.untilIdle()
  await operator.stop()
  expect(operator.errors).toEqual([])
}

type Plural = 'upstreams' | 'virtualregistries' | 'cleanuppolicies'

/** What is there, as which kind it is asked for, and what tools that wait must think of it. */
const fixtures: [string, State, Plural, readonly unknown[]][] = [
  ['an Upstream without an account', 'Current', 'upstreams', [upstream('it')]],
  ['an Upstream that is CacheOnly', 'Current', 'upstreams', [upstream('it', { mode: 'CacheOnly' })]],
  [
    'an Upstream whose Secret is not there yet',
    'InProgress',
    'upstreams',
    [upstream('it', { credentialsSecretRef: { name: 'login' } })],
  ],
  [
    'an Upstream whose Secret may not be sent there, which another object may mend',
    'InProgress',
    'upstreams',
    [
      upstream('it', { credentialsSecretRef: { name: 'login' } }),
      secret('login', 'kubernetes.io/basic-auth', { username: btoa('me'), password: btoa('canary-word') }),
    ],
  ],
  [
    'an Upstream with a host that is none',
    'Failed',
    'upstreams',
    [upstream('it', { url: 'https://1.2.3.4.5' })],
  ],
  [
    'an Upstream that was stored before its schema',
    'Failed',
    'upstreams',
    [upstream('it', { mode: 'Paused' })],
  ],
  ['a registry', 'Current', 'virtualregistries', [upstream('hub'), registry('it')]],
  [
    'a registry that is Disabled',
    'Current',
    'virtualregistries',
    [upstream('hub'), registry('it', { serving: 'Disabled' })],
  ],
  ['a registry whose Upstream is not there yet', 'InProgress', 'virtualregistries', [registry('it')]],
  [
    'a registry whose Upstream cannot be used yet',
    'InProgress',
    'virtualregistries',
    [upstream('hub', { credentialsSecretRef: { name: 'gone' } }), registry('it')],
  ],
  [
    'a registry at a path that is not permitted',
    'Failed',
    'virtualregistries',
    [upstream('hub'), registry('it', { path: 'elsewhere' })],
  ],
  [
    'a registry with a host that is not granted',
    'Failed',
    'virtualregistries',
    [upstream('hub'), registry('it', { hosts: ['a.example.com'] })],
  ],
  [
    'a registry at the path of another',
    'Failed',
    'virtualregistries',
    [upstream('hub'), registry('first'), registry('it', { path: 'default/first/below' })],
  ],
  [
    'a registry that is too large',
    'Failed',
    'virtualregistries',
    [
      upstream('hub'),
      registry('it', {
        upstreams: Array.from({ length: 20 }, (_, at) => ({
          upstreamRef: { name: `u${at}` },
          repositories: {
            include: Array.from({ length: 50 }, (_none, each) => `${'a'.repeat(250)}${each}`),
            exclude: Array.from({ length: 50 }, (_none, each) => `${'b'.repeat(250)}${each}`),
          },
        })),
      }),
    ],
  ],
  [
    'a registry that was stored before its schema',
    'Failed',
    'virtualregistries',
    [registry('it', { upstreams: [] })],
  ],
  ['a policy, though nothing runs it yet', 'Current', 'cleanuppolicies', [policy({})]],
  ['a policy that is suspended', 'Current', 'cleanuppolicies', [policy({ suspend: true })]],
  [
    'a policy in a time zone that there is not',
    'Failed',
    'cleanuppolicies',
    [policy({ schedule: { timeZone: 'Europe/Atlantis' } })],
  ],
  [
    'a policy that was stored before its schema',
    'Failed',
    'cleanuppolicies',
    [policy({ keepAfterDownloadDays: 0 })],
  ],
]

describe('tools that wait by kstatus', () => {
  it.each(fixtures)('find %s %s', async (_title, wanted, plural, objects) => {
    const fake = createFakeCluster()
    for (const object of objects) fake.apply(pluralOf(object as { kind: string }), object)
    expect(kstatus(fake.get(plural, 'it'))).toBe('InProgress')
    await settle(fake)
    expect(kstatus(fake.get(plural, 'it'))).toBe(wanted)
  })

  const judged = (Programmed: Verdict): Judged => ({
    ...{ Accepted: yes('Accepted', ''), ResolvedRefs: yes('ResolvedRefs', ''), Programmed },
  })
  it.each([
    ['served', 'Current', yes('Programmed', '')],
    ['on its way', 'InProgress', no('Pending', '')],
    ['what no proxy serves', 'InProgress', no('NoProxies', '')],
    ['what an old proxy cannot take', 'InProgress', no('NotTaken', '')],
    ['what nobody can be asked about', 'InProgress', unknown('ProxyUnreachable', '')],
  ] as const)('find what is %s %s', (_title, wanted, programmed) => {
    const seen = seenRegistry({})
    const status = commonStatusOf(seen, { judged: judged(programmed) }, new Date())
    expect(kstatus({ metadata: { generation: 3 }, status })).toBe(wanted)
    expect(kstatus({ metadata: { generation: 4 }, status })).toBe('InProgress')
    const deletionTimestamp = '2026-11-22T00:00:00Z'
    expect(kstatus({ metadata: { generation: 3, deletionTimestamp }, status })).toBe('Terminating')
  })

  it('find it mended once it is, and failed again when it is broken', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    for (const [path, wanted] of [
      ['elsewhere', 'Failed'],
      ['default/it', 'Current'],
      ['elsewhere', 'Failed'],
    ] as const) {
      fake.apply('virtualregistries', registry('it', { path }))
      expect(kstatus(fake.get('virtualregistries', 'it'))).toBe('InProgress')
      await settle(fake)
      expect(kstatus(fake.get('virtualregistries', 'it'))).toBe(wanted)
    }
  })

  it('are not told of a conflict that passes, as when the holder of a path leaves it next', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    fake.apply('virtualregistries', registry('one', { path: 'default/a' }))
    fake.apply('virtualregistries', registry('two', { path: 'default/b' }))
    await settle(fake)
    const operator = startFakeOperator(fake, { patienceMs: 5000 })
    fake.apply('virtualregistries', registry('one', { path: 'default/b' }))
    await operator.untilIdle()
    expect(kstatus(fake.get('virtualregistries', 'one'))).toBe('InProgress')
    fake.apply('virtualregistries', registry('two', { path: 'default/c' }))
    await operator.untilIdle()
    await operator.stop()
    const states = ['one', 'two'].map((name) => kstatus(fake.get('virtualregistries', name)))
    expect(states).toEqual(['Current', 'Current'])
  })
})

describe('a conflict that is mended with another move', () => {
  it('is not said again at once', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    fake.apply('virtualregistries', registry('one', { path: 'default/a' }))
    fake.apply('virtualregistries', registry('two', { path: 'default/b' }))
    fake.apply('virtualregistries', registry('it', { path: 'default/a' }))
    await settle(fake)
    expect(kstatus(fake.get('virtualregistries', 'it'))).toBe('Failed')
    const operator = startFakeOperator(fake, { patienceMs: 60_000 })
    fake.apply('virtualregistries', registry('it', { path: 'default/b' }))
    await operator.untilIdle()
    expect(kstatus(fake.get('virtualregistries', 'it'))).toBe('InProgress')
    fake.apply('virtualregistries', registry('two', { path: 'default/c' }))
    await operator.untilIdle()
    await operator.stop()
    expect(kstatus(fake.get('virtualregistries', 'it'))).toBe('Current')
  })
})

describe('registries that change places', () => {
  it.each([0, 5000])(
    'are told of no conflict, and say so at once (%s ms of patience)',
    async (patienceMs) => {
      const fake = createFakeCluster()
      fake.apply('upstreams', upstream('hub'))
      fake.apply('virtualregistries', registry('one', { path: 'default/a' }))
      fake.apply('virtualregistries', registry('two', { path: 'default/b' }))
      await settle(fake)
      const operator = startFakeOperator(fake, { patienceMs })
      fake.apply('virtualregistries', registry('one', { path: 'default/b' }))
      await operator.untilIdle()
      fake.writes.length = 0
      fake.apply('virtualregistries', registry('two', { path: 'default/a' }))
      await operator.untilIdle()
      await operator.stop()
      expect(operator.errors).toEqual([])
      for (const name of ['one', 'two']) {
        expect(kstatus(fake.get('virtualregistries', name))).toBe('Current')
        const statuses = fake.writes.filter((write) => write === `status virtualregistries/${name}`)
        if (patienceMs > 0) expect(statuses).toHaveLength(1)
      }
    },
  )
})

function pluralOf({ kind }: { readonly kind: string }): string {
  return ({ ...plurals, Secret: 'secrets' } as Record<string, string>)[kind]!
}
