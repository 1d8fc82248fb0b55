import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import { documentName } from '../../operator/documents.ts'
import { observeCustom } from '../../operator/observed.ts'
import { ApiError } from '../../operator/runtime/api-error.ts'
import { untaken } from '../../operator/settle.ts'
import {
  createFakeCluster,
  type FakeCluster,
  resource,
  routesNamespace,
  startFakeOperator,
} from './fake-cluster.ts'

const url = 'https://registry.example.com'
const login = {
  ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
  metadata: { name: 'login', annotations: { 'headwater.dev/registry-host': 'registry.example.com' } },
  data: { username: btoa('me'), password: btoa('canary-word') },
}
const upstream = (name: string, spec = {}) => resource('Upstream', name, { url, ...spec })
const registry = (name: string, upstreams: string[], spec = {}) =>
  resource('VirtualRegistry', name, {
    upstreams: upstreams.map((each) => ({ upstreamRef: { name: each } })),
    ...spec,
  })
const ready = (fake: FakeCluster, plural: string, name: string) =>
  fake.get(plural, name)?.status.conditions?.find(({ type }: { type: string }) => type === 'Ready')

function someResources(fake: FakeCluster): void {
  fake.apply('secrets', login)
  fake.apply('upstreams', upstream('hub', { credentialsSecretRef: { name: 'login' } }))
  fake.apply('upstreams', upstream('quay', { url: 'https://quay.example.com' }))
  fake.apply('upstreams', upstream('broken', { credentialsSecretRef: { name: 'gone' } }))
  fake.apply('virtualregistries', registry('all', ['hub', 'quay', 'broken']))
  fake.apply('virtualregistries', registry('below', ['quay'], { path: 'default/all/below' }))
  fake.apply('virtualregistries', registry('elsewhere', ['missing'], { path: 'elsewhere' }))
}

/** Runs an operator until it has nothing more to do. */
async function settle(fake: FakeCluster, meanwhile?: () => Promise<void> | void): Promise<void> {
  const operator = startFakeOperator(fake)
  await operator.untilIdle()
  await meanwhile?.()
  await operator.untilIdle()
  await operator.stop()
  expect(operator.errors).toEqual([])
}

describe('the operator', () => {
  it('writes each document and each status once, and nothing when there is nothing new', async () => {
    const fake = createFakeCluster()
    someResources(fake)
    await settle(fake)
    const statuses = fake.writes.filter((write) => write.startsWith('status'))
    expect([statuses.length, fake.writes.length - statuses.length]).toEqual([6, 4])
    expect(fake.documents()).toHaveLength(4)
    expect(ready(fake, 'upstreams', 'hub')).toMatchObject({ status: 'True' })
    expect(ready(fake, 'virtualregistries', 'all')).toMatchObject({
      status: 'False',
      reason: 'UpstreamNotReady',
    })
    expect(ready(fake, 'virtualregistries', 'below')).toMatchObject({ reason: 'PathConflict' })
    expect(ready(fake, 'virtualregistries', 'elsewhere')).toMatchObject({ reason: 'PathNotPermitted' })

    const before = fake.writes.length
    await settle(fake)
    expect(fake.writes).toHaveLength(before)
  })

  it('touches the registries of an upstream alone when it changes', async () => {
    const fake = createFakeCluster()
    someResources(fake)
    await settle(fake, async () => {
      fake.writes.length = 0
      fake.apply('upstreams', upstream('quay', { url: 'https://quay.example.com', mode: 'CacheOnly' }))
    })
    expect(fake.writes.filter((write) => !/quay|^apply upstream-/.test(write))).toEqual([])
  })

  it('K15: deletes no document of a kind whose definition is gone, nor before everything was read', async () => {
    const fake = createFakeCluster()
    someResources(fake)
    await settle(fake)
    const before = fake.documents().length
    await settle(fake, () => {
      fake.fault.unserved.add('upstreams')
      for (const name of ['hub', 'quay', 'broken']) fake.remove('upstreams', name)
    })
    expect(fake.documents()).toHaveLength(before)

    const operator = startFakeOperator(fake)
    await operator.untilIdle()
    fake.remove('virtualregistries', 'all')
    await operator.untilIdle()
    await operator.stop()
    expect(fake.documents()).toHaveLength(before) // it waits for the definition: nothing was done at all

    fake.fault.unserved.clear()
    await settle(fake)
    expect(fake.documents().map(({ route }) => route.name)).toEqual(['below'])
  })

  it('K15: asks for a definition that is gone once for all documents that wait for it', async () => {
    const fake = createFakeCluster()
    for (let number = 0; number < 50; number++) fake.apply('upstreams', upstream(`hub-${number}`))
    await settle(fake)
    let asked = 0
    const { isServed } = fake.cluster
    fake.cluster.isServed = (plural) => {
      asked += 1
      return isServed(plural)
    }
    await settle(fake, () => {
      fake.fault.unserved.add('upstreams')
      for (let number = 0; number < 50; number++) fake.remove('upstreams', `hub-${number}`)
    })
    expect(fake.documents()).toHaveLength(50)
    expect(asked).toBeGreaterThan(0)
    expect(asked).toBeLessThan(10) // several may ask at the same time
  })

  it('K10: comes to the same where objects came, changed and went while no operator ran', async () => {
    const fake = createFakeCluster()
    someResources(fake)
    await settle(fake)
    fake.apply('upstreams', upstream('fleeting'))
    fake.remove('upstreams', 'fleeting')
    fake.remove('virtualregistries', 'all')
    fake.apply('virtualregistries', registry('all', ['quay'], { path: 'default/anew' }))
    fake.remove('upstreams', 'hub')
    fake.apply('upstreams', upstream('mirror', { url: 'https://mirror.example.com' }))
    await settle(fake)
    expect(fake.documents().map(({ route }) => route.name)).toEqual(
      expect.arrayContaining(['all', 'below', 'broken', 'mirror', 'quay']),
    )
    expect(fake.documents()).toHaveLength(5)
    const all = fake.documents().find(({ route }) => route.name === 'all')?.route
    expect(all).toMatchObject({ path: 'default/anew', upstreams: [{ name: 'quay' }] })
    // what gave its path up let the other one have its own
    expect(ready(fake, 'virtualregistries', 'below')).toMatchObject({ status: 'True' })
  })

  it('K13: says of a registry which upstream was deleted, drops its documents alone, and heals with it', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    fake.apply('upstreams', upstream('quay', { url: 'https://quay.example.com' }))
    fake.apply('virtualregistries', registry('all', ['hub', 'quay']))
    await settle(fake)
    const idOf = () =>
      fake
        .documents()
        .flatMap(({ route }) => (route.kind === 'Upstream' && route.name === 'hub' ? route.id : []))
    const before = idOf()
    await settle(fake, () => fake.remove('upstreams', 'hub'))
    expect(ready(fake, 'virtualregistries', 'all')).toMatchObject({
      ...{ status: 'False', reason: 'RefNotFound' },
      message: 'Upstream hub: there is no such Upstream in this namespace',
    })
    expect(
      fake
        .documents()
        .map(({ route }) => route.name)
        .toSorted(),
    ).toEqual(['all', 'quay'])
    await settle(fake, () => fake.apply('upstreams', upstream('hub')))
    expect(ready(fake, 'virtualregistries', 'all')).toMatchObject({ status: 'True' })
    expect(idOf()).toEqual(before)
  })

  it('K24: says what is wrong with an object that was stored before the schema refused it, and goes on with others', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    fake.apply('upstreams', upstream('old', { url: 'ftp://registry.example.com', mode: 'Sometimes' }))
    fake.apply('upstreams', { ...resource('Upstream', 'empty', undefined), spec: null })
    fake.apply('virtualregistries', registry('fine', ['hub']))
    fake.apply('virtualregistries', registry('older', ['old'], { path: 'default/Upper//case' }))
    fake.apply('virtualregistries', resource('VirtualRegistry', 'listless', { upstreams: 'hub' }))
    await settle(fake)
    for (const [plural, name] of [
      ['upstreams', 'old'],
      ['upstreams', 'empty'],
      ['virtualregistries', 'older'],
      ['virtualregistries', 'listless'],
    ] as const) {
      expect(ready(fake, plural, name), name).toMatchObject({ status: 'False', reason: 'InvalidSpec' })
    }
    expect(ready(fake, 'upstreams', 'old').message).toContain('spec.url')
    expect(ready(fake, 'virtualregistries', 'fine')).toMatchObject({ status: 'True' })
    const before = fake.writes.length
    await settle(fake)
    expect(fake.writes).toHaveLength(before)
  })

  it('knows what it wrote before it is told of it', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    fake.apply('virtualregistries', registry('older', ['hub']))
    fake.apply('virtualregistries', registry('younger', ['hub']))
    const operator = startFakeOperator(fake)
    await operator.untilIdle()
    fake.fault.repeat = (plural) => (plural === 'secrets' ? 0 : 1)
    fake.apply('virtualregistries', registry('younger', ['hub'], { path: 'default/one' }))
    await operator.untilIdle()
    fake.apply('virtualregistries', registry('older', ['hub'], { path: 'default/one' }))
    await operator.untilIdle()
    await operator.stop()
    expect(ready(fake, 'virtualregistries', 'younger')).toMatchObject({ status: 'True' })
    expect(ready(fake, 'virtualregistries', 'older')).toMatchObject({ reason: 'PathConflict' })
  })

  it('sweeps what lies in the routes namespace without an owner', async () => {
    const fake = createFakeCluster()
    const metadata = { name: 'stray', namespace: routesNamespace, annotations: {} }
    const document = btoa(JSON.stringify({ features: [], revision: 'x', route: {} }))
    fake.apply('secrets', { type: 'headwater.dev/route', metadata, data: { document } })
    fake.apply('secrets', { type: 'Opaque', metadata: { ...metadata, name: 'not-ours' }, data: { document } })
    await settle(fake)
    expect([
      fake.get('secrets', 'stray', routesNamespace),
      fake.get('secrets', 'not-ours', routesNamespace),
    ]).toEqual([undefined, expect.anything()])
  })

  it.each([false, true])(
    'K9: converges after a kill at any write, whether it was done or not (%s)',
    async (isAfter) => {
      const story = async (fake: FakeCluster, run: (fake: FakeCluster) => Promise<void>) => {
        someResources(fake)
        await run(fake)
        fake.remove('virtualregistries', 'all')
        fake.remove('upstreams', 'quay')
        fake.apply('secrets', { ...login, data: { ...login.data, password: btoa('another') } })
        fake.apply('virtualregistries', registry('elsewhere', ['hub'], { path: 'shared/x' }))
        await run(fake)
      }
      const undisturbed = createFakeCluster()
      await story(undisturbed, settle)
      const wanted = undisturbed.picture()

      let kills = 0
      for (let at = 1; ; at++) {
        let isKilled = false
        const fake = createFakeCluster()
        Object.assign(fake.fault, { killAt: at, isAfter })
        await story(fake, async () => {
          const operator = startFakeOperator(fake)
          if (await operator.untilIdle()) {
            isKilled = true
            await operator.stop()
            fake.fault.killAt = Number.POSITIVE_INFINITY
            await settle(fake)
          } else await operator.stop()
        })
        expect(fake.picture(), `killed at write ${at}`).toEqual(wanted)
        if (!isKilled) break
        kills += 1
      }
      expect(kills).toBeGreaterThan(12)
    },
  )

  it.each([
    ['two that change places', ['b', 'a']],
    ['three that go round', ['b', 'c', 'a']],
    ['three that go round the other way', ['c', 'a', 'b']],
    ['one that goes elsewhere, and one that follows it', ['d', 'a']],
  ])('K9: moves %s, also when it is killed at any write, and never two to one path', async (_title, to) => {
    const names = ['a', 'b', 'c'].slice(0, to.length)
    const applyAt = (fake: FakeCluster, paths: readonly string[]) => {
      for (const [index, name] of names.entries()) {
        fake.apply('virtualregistries', registry(name, ['hub'], { path: `default/${paths[index]}` }))
      }
    }
    const wanted = names.map((name, index) => [name, `default/${to[index]}`])

    let kills = 0
    for (let isKilled = true; isKilled; kills++) {
      const fake = createFakeCluster()
      fake.apply('upstreams', upstream('hub'))
      applyAt(fake, names)
      await settle(fake)
      applyAt(fake, to)
      fake.fault.killAt = kills + 1
      const operator = startFakeOperator(fake)
      isKilled = await operator.untilIdle()
      await operator.stop()
      const paths = placesOf(fake).map(([, path]) => path)
      expect(new Set(paths).size).toBe(paths.length)
      fake.fault.killAt = Number.POSITIVE_INFINITY
      if (isKilled) await settle(fake)
      expect(placesOf(fake)).toEqual(wanted)
      const states = names.map((name) => ready(fake, 'virtualregistries', name).status)
      expect(states).toEqual(names.map(() => 'True'))
    }
    expect(kills).toBeGreaterThan(4)
  })

  it('K9: lets two change places in one go, also before an older one that wants what both leave', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    const applyAt = (n: string, x: string, y: string) => {
      fake.apply('virtualregistries', registry('n', ['hub'], { path: n }))
      fake.apply('virtualregistries', registry('x', ['hub'], { path: x }))
      fake.apply('virtualregistries', registry('y', ['hub'], { path: y }))
    }
    applyAt('default/n', 'default/x', 'default/y')
    await settle(fake)
    await settle(fake, async () => {
      applyAt('default', 'default/x', 'default/y')
      await new Promise((resolve) => setTimeout(resolve, 10))
      applyAt('default', 'default/y', 'default/x')
    })
    expect(placesOf(fake)).toEqual([
      ['n', 'default/n'],
      ['x', 'default/y'],
      ['y', 'default/x'],
    ])
  })

  it('K9: asks also the one that alone can open a ring that another has closed', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    const apply = (paths: Readonly<Record<string, string>>) => {
      for (const [name, path] of Object.entries(paths)) {
        fake.apply('virtualregistries', registry(name, ['hub'], { path }))
      }
    }
    apply({ a: 'default/x', b: 'shared/y/1', c: 'shared/y/2', d: 'default/w' })
    await settle(fake)
    await settle(fake, () => apply({ a: 'shared/y', b: 'default/w', c: 'default/x/2' }))
    const moved = { a: 'shared/y', b: 'default/x/1', c: 'default/x/2' }
    const operator = startFakeOperator(fake)
    await operator.untilIdle()
    apply({ b: moved.b })
    await operator.untilIdle()
    await operator.stop()
    expect(Object.fromEntries(placesOf(fake))).toEqual({ ...moved, d: 'default/w' })
  })

  it('K9: lets nothing go while no document is taken, says so, and changes places when one is', async () => {
    const fake = createFakeCluster()
    fake.apply('upstreams', upstream('hub'))
    const applyAt = (x: string, y: string) => {
      fake.apply('virtualregistries', registry('x', ['hub'], { path: `default/${x}` }))
      fake.apply('virtualregistries', registry('y', ['hub'], { path: `default/${y}` }))
    }
    applyAt('x', 'y')
    await settle(fake)
    const operator = startFakeOperator(fake)
    await operator.untilIdle()
    const isApply = (what: string) => what.startsWith('apply registry')
    fake.fault.refusal = (what) => (isApply(what) ? new ApiError(403, 'Forbidden') : undefined)
    applyAt('y', 'x')
    const verdicts = () => ['x', 'y'].map((name) => ready(fake, 'virtualregistries', name))
    await vi.waitFor(() => expect(operator.errors).not.toEqual([]))
    await operator.untilIdle()
    expect(placesOf(fake)).toEqual([
      ['x', 'default/x'],
      ['y', 'default/y'],
    ])
    for (const { reason, message } of verdicts()) {
      expect([reason, message]).toEqual(['PathConflict', expect.stringContaining('served on')])
    }
    const said = ['x', 'y'].map((name) =>
      untaken(observeCustom(z.unknown(), fake.get('virtualregistries', name)), 'NotWritten'),
    )
    expect(said).toContainEqual(
      expect.objectContaining({ message: expect.stringContaining('keep what they had') }),
    )
    fake.fault.refusal = () => undefined
    await vi.waitFor(() => expect(verdicts()).toMatchObject([{ status: 'True' }, { status: 'True' }]), 10_000)
    expect(placesOf(fake)).toEqual([
      ['x', 'default/y'],
      ['y', 'default/x'],
    ])
    await operator.stop()
  })

  it.each([
    ['older', ['x', 'w']],
    ['younger', ['w', 'x']],
  ])(
    'K9: takes back a document that was late, when another has its path by then; of an %s one',
    async (_title, order) => {
      const fake = createFakeCluster()
      const apply = (name: string, path: string) =>
        fake.apply('virtualregistries', registry(name, ['hub'], { path: `default/${path}` }))
      fake.apply('upstreams', upstream('hub'))
      apply('z', 'q')
      for (const name of order) apply(name, name === 'x' ? 'q' : 'w')
      await settle(fake)
      const { promise: arrival, resolve: arrive } = Promise.withResolvers<void>()
      await settle(fake, async () => {
        const late = documentName({ kind: 'VirtualRegistry', namespace: 'default', name: 'x' })
        fake.fault.delay = (what) => (what === `apply ${late}` ? arrival : undefined)
        apply('x', 'p')
        await new Promise((resolve) => setTimeout(resolve, 10))
        apply('x', 'q')
        apply('w', 'p')
        await vi.waitFor(() => expect(placesOf(fake)).toContainEqual(['w', 'default/p']))
        arrive()
        await vi.waitFor(() => expect(fake.writes).toContain(`apply ${late}`))
      })
      expect(placesOf(fake)).toEqual([
        ['w', 'default/p'],
        ['z', 'default/q'],
      ])
      expect(ready(fake, 'virtualregistries', 'w')).toMatchObject({ status: 'True' })
      const { reason, message } = ready(fake, 'virtualregistries', 'x')
      expect(reason).toBe('PathConflict')
      expect(message).not.toContain('served on')
    },
  )

  it('K8: comes to the same whatever happened in between, with events lost, repeated and out of sight', async () => {
    const names = ['a', 'b', 'c']
    const step = fc.oneof(
      fc.record({
        do: fc.constant('upstream' as const),
        name: fc.constantFrom(...names),
        secret: fc.boolean(),
      }),
      fc.record({
        do: fc.constant('registry' as const),
        name: fc.constantFrom(...names),
        path: fc.constantFrom(
          undefined,
          'default',
          'default/a',
          'default/b',
          'default/a/x',
          'elsewhere',
          'shared/a',
        ),
        upstreams: fc.subarray(names, { minLength: 1 }),
      }),
      fc.record({
        do: fc.constant('remove' as const),
        name: fc.constantFrom(...names),
        isRegistry: fc.boolean(),
      }),
      fc.record({ do: fc.constant('secret' as const), isThere: fc.boolean() }),
      fc.record({ do: fc.constant('break' as const) }),
      fc.record({ do: fc.constant('wait' as const) }),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 25 }),
        fc.infiniteStream(fc.nat({ max: 2 })),
        async (steps, repeats) => {
          const fake = createFakeCluster()
          fake.fault.repeat = () => repeats.next().value ?? 1
          const operator = startFakeOperator(fake)
          for (const one of steps) {
            if (one.do === 'upstream') {
              fake.apply(
                'upstreams',
                upstream(one.name, one.secret ? { credentialsSecretRef: { name: 'login' } } : {}),
              )
            } else if (one.do === 'registry') {
              const { name, path, upstreams } = one
              fake.apply('virtualregistries', registry(name, upstreams, path === undefined ? {} : { path }))
            } else if (one.do === 'remove')
              fake.remove(one.isRegistry ? 'virtualregistries' : 'upstreams', one.name)
            else if (one.do === 'secret')
              one.isThere ? fake.apply('secrets', login) : fake.remove('secrets', 'login')
            else if (one.do === 'break') fake.breakWatches()
            else await new Promise((resolve) => setTimeout(resolve, 2))
          }
          fake.fault.repeat = () => 1
          fake.breakWatches() // the end of what was lost
          await operator.untilIdle()
          await operator.stop()

          const after = fake.picture()
          const writes = fake.writes.length
          await settle(fake)
          expect([fake.writes.length, fake.picture()]).toEqual([writes, after])
          expectSound(fake)
        },
      ),
      { numRuns: 60 },
    )
  })
})

/** Each registry that is served, and where. */
function placesOf(fake: FakeCluster): [string, string][] {
  const places = fake
    .documents()
    .flatMap(({ route }): [string, string][] =>
      route.kind === 'VirtualRegistry' ? [[route.name, route.path]] : [],
    )
  return places.toSorted(([a], [b]) => (a < b ? -1 : 1))
}

/** What holds of any world that is at rest. */
function expectSound(fake: FakeCluster): void {
  const documents = fake.documents()
  for (const { route } of documents) {
    const plural = route.kind === 'Upstream' ? 'upstreams' : 'virtualregistries'
    expect(fake.get(plural, route.name)).toBeDefined()
  }
  const paths = placesOf(fake).map(([, path]) => path)
  for (const path of paths) {
    expect(paths.filter((other) => other === path || other.startsWith(`${path}/`))).toEqual([path])
  }
  const { picture } = fake
  expect(JSON.stringify((picture() as { status?: unknown }[]).map(({ status }) => status))).not.toContain(
    'canary',
  )
}
