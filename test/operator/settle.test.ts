import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { documentName } from '../../operator/documents.ts'
import { ApiError } from '../../operator/runtime/api-error.ts'
import {
  createFakeCluster,
  type FakeCluster,
  resource,
  routesNamespace,
  startFakeOperator,
} from './fake-cluster.ts'

const login = (password: string) => ({
  ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
  metadata: { name: 'login', annotations: { 'headwater.dev/registry-host': 'registry.example.com' } },
  data: { username: btoa('me'), password: btoa(password) },
})
const url = 'https://registry.example.com'
const hub = resource('Upstream', 'hub', { url, credentialsSecretRef: { name: 'login' } })
const registry = (path: string, more = {}) =>
  resource('VirtualRegistry', 'all', { path, upstreams: [{ upstreamRef: { name: 'hub' } }], ...more })
const conditionOf = (fake: FakeCluster, plural: string, name: string, type: string) =>
  fake.get(plural, name).status.conditions?.find((each: { type: string }) => each.type === type)

/** An operator that has brought a registry over one upstream to where it should be. */
async function settled() {
  const fake = createFakeCluster()
  fake.apply('secrets', login('canary-old'))
  fake.apply('upstreams', hub)
  fake.apply('virtualregistries', registry('default/all'))
  const operator = startFakeOperator(fake)
  await operator.untilIdle()
  return { fake, operator }
}

describe('what somebody deletes while its status is written', () => {
  it.each([
    ['upstreams', 'hub'],
    ['virtualregistries', 'all'],
  ])('stays deleted, of %s', async (plural, name) => {
    const { fake, operator } = await settled()
    const { applyStatus } = fake.cluster
    fake.cluster.applyStatus = async (...parameters) => {
      const answer = await applyStatus(...parameters)
      fake.remove(plural, name)
      await sleep(5) // the watch is faster than the answer
      return answer
    }
    const annotations = { 'headwater.dev/reconcile-requested-at': 'now' }
    const earlier = fake.get(plural, name)
    fake.apply(plural, { ...earlier, metadata: { ...earlier.metadata, annotations } })
    await operator.untilIdle()
    await operator.stop()
    expect(fake.get(plural, name)).toBeUndefined()
    expect(fake.documents().map(({ route }) => route.name)).not.toContain(name)
  })
})

describe('a document that the API server does not take', () => {
  const passwordOf = (fake: FakeCluster) =>
    fake.documents().flatMap(({ route }) => (route.kind === 'Upstream' ? route.credentials?.password : []))
  const refuse = (what: RegExp, status: number) => (write: string) =>
    what.test(write) ? new ApiError(status, 'Refused', { detail: 'canary-said' }) : undefined

  it.each([400, 403, 404, 413, 422])(
    'is in the status while it is refused with %i, and not when it is taken at last',
    async (status) => {
      const { fake, operator } = await settled()
      fake.fault.refusal = refuse(/^apply/, status)
      fake.apply('secrets', login('canary-new'))
      fake.apply('virtualregistries', registry('default/another'))
      await operator.untilIdle()
      for (const [plural, name] of [
        ['upstreams', 'hub'],
        ['virtualregistries', 'all'],
      ] as const) {
        const reason = () => conditionOf(fake, plural, name, 'Ready').reason
        await expect.poll(reason, { timeout: 10_000 }).toBe('NotWritten')
        for (const type of ['Programmed', 'Ready']) {
          const said = conditionOf(fake, plural, name, type)
          expect(said).toMatchObject({ status: 'False', reason: 'NotWritten' })
          expect(said.message).toContain(`${status} Refused`)
          expect(said.message).not.toContain('canary')
          expect(said.message.includes('the log of the operator')).toBe(status === 403)
        }
        expect(conditionOf(fake, plural, name, 'Accepted').status).toBe('True')
      }
      expect(operator.errors.map((error) => (error as ApiError).status)).toContain(status)
      const { length } = fake.writes
      await sleep(100)
      expect(fake.writes).toHaveLength(length)
      expect(passwordOf(fake)).toEqual(['canary-old'])

      fake.fault.refusal = () => undefined
      await expect.poll(() => passwordOf(fake), { timeout: 20_000 }).toEqual(['canary-new'])
      await expect.poll(() => conditionOf(fake, 'upstreams', 'hub', 'Ready').status).toBe('True')
      const path = () => fake.documents().flatMap(({ route }) => ('path' in route ? route.path : []))
      await expect.poll(path, { timeout: 20_000 }).toEqual(['default/another'])
      await operator.stop()
    },
    60_000,
  )

  it('is in the status of an object that never had one, and of the registry that needs it', async () => {
    const fake = createFakeCluster()
    fake.fault.refusal = refuse(/^apply upstream-/, 403)
    fake.apply('secrets', login('canary-old'))
    fake.apply('virtualregistries', registry('default/all'))
    const operator = startFakeOperator(fake)
    await operator.untilIdle()
    fake.apply('upstreams', hub)
    const reasonOf = (plural: string, name: string) => () => conditionOf(fake, plural, name, 'Ready')?.reason
    await expect.poll(reasonOf('upstreams', 'hub')).toBe('NotWritten')
    expect(conditionOf(fake, 'upstreams', 'hub', 'Programmed').message).toContain('they have nothing of it')
    await expect.poll(reasonOf('virtualregistries', 'all')).toBe('NotWritten')
    expect(conditionOf(fake, 'virtualregistries', 'all', 'Programmed').message).toContain('Upstream hub')
    expect(fake.get('upstreams', 'hub').status.observedGeneration).toBe(1)
    fake.fault.refusal = () => undefined
    await expect.poll(reasonOf('virtualregistries', 'all'), { timeout: 20_000 }).toBe('Ready')
    await operator.stop()
  }, 30_000)

  it.each([409, 429, 500, 503])('is not in the status over %i, which passes', async (status) => {
    const { fake, operator } = await settled()
    fake.fault.refusal = refuse(/^apply/, status)
    fake.apply('secrets', login('canary-new'))
    await operator.untilIdle()
    await operator.stop()
    expect(conditionOf(fake, 'upstreams', 'hub', 'Ready').status).toBe('True')
  })

  it('is deleted late, but the status says at once why it is to be, and that it is not', async () => {
    const { fake, operator } = await settled()
    await operator.stop()
    const name = documentName({ kind: 'VirtualRegistry', namespace: 'default', name: 'all' })
    const stored = fake.get('secrets', name, routesNamespace)
    const document = JSON.parse(Buffer.from(stored.data.document, 'base64').toString())
    const route = { ...document.route, path: 'granted-once' }
    const data = { document: btoa(JSON.stringify({ ...document, route })) }
    fake.apply('secrets', { ...stored, data })
    fake.apply('virtualregistries', registry('granted-once'))
    fake.fault.refusal = refuse(/^delete/, 403)
    const later = startFakeOperator(fake)
    await later.untilIdle()
    expect(conditionOf(fake, 'virtualregistries', 'all', 'Ready').reason).toBe('PathNotPermitted')
    const programmed = () => conditionOf(fake, 'virtualregistries', 'all', 'Programmed').reason
    expect(programmed()).toBe('NotWritten')
    expect(fake.documents()).toHaveLength(2)
    fake.fault.refusal = () => undefined
    await expect.poll(() => fake.documents().length, { timeout: 20_000 }).toBe(1)
    await expect.poll(programmed).toBe('NotAccepted')
    await later.stop()
  }, 30_000)
})

describe('what is not accepted and is to be stopped, which the API server does not take', () => {
  it.each<[string, string, string, object]>([
    [
      'a registry that is disabled, at a path that is taken',
      ...(['virtualregistries', 'all'] as const),
      registry('default/taken', { serving: 'Disabled' }),
    ],
    [
      'an upstream that loses its account, with a spec that is refused',
      ...(['upstreams', 'hub'] as const),
      resource('Upstream', 'hub', { ...(hub.spec as object), mode: 'Sometimes' }),
    ],
  ])(
    'is said of %s',
    async (_title, plural, name, changed) => {
      const { fake, operator } = await settled()
      const path = 'default/taken'
      fake.apply('virtualregistries', { ...registry(path), metadata: { name: 'first' } })
      await operator.untilIdle()
      fake.fault.refusal = (write) => (write.startsWith('apply') ? new ApiError(403, 'Forbidden') : undefined)
      fake.apply(plural, changed)
      await expect.poll(() => conditionOf(fake, plural, name, 'Programmed').reason).toBe('NotWritten')
      expect(conditionOf(fake, plural, name, 'Accepted').status).toBe('False')
      fake.fault.refusal = () => undefined
      await expect
        .poll(() => conditionOf(fake, plural, name, 'Programmed').reason, { timeout: 20_000 })
        .toBe('NotAccepted')
      await operator.stop()
    },
    30_000,
  )
})

describe('a document that says no more whose it is', () => {
  const strip = (fake: FakeCluster, kind: 'Upstream' | 'VirtualRegistry', name: string, more = {}) => {
    const stored = fake.get('secrets', documentName({ kind, namespace: 'default', name }), routesNamespace)
    fake.apply('secrets', { ...stored, metadata: { ...stored.metadata, annotations: {} }, ...more })
  }
  const marked = (fake: FakeCluster, kind: 'Upstream' | 'VirtualRegistry', name: string) =>
    fake.get('secrets', documentName({ kind, namespace: 'default', name }), routesNamespace)?.metadata
      .annotations['headwater.dev/owner-name']

  it.each([
    ['Upstream', 'hub'],
    ['VirtualRegistry', 'all'],
  ] as const)('is told so again, and is not deleted meanwhile, of a %s', async (kind, name) => {
    const { fake, operator } = await settled()
    fake.writes.length = 0
    strip(fake, kind, name)
    await operator.untilIdle()
    await operator.stop()
    expect(fake.writes.filter((write) => write.startsWith('delete'))).toEqual([])
    expect(marked(fake, kind, name)).toBe(name)
    expect(fake.documents()).toHaveLength(2)
  })

  it.each([
    ['cannot be read, either', { data: { document: btoa('{}') } }, {}],
    ['says that it is another’s', {}, { 'headwater.dev/owner-name': 'other' }],
  ])('is made anew where it %s', async (_title, more, annotations) => {
    const { fake, operator } = await settled()
    const key = { kind: 'VirtualRegistry', namespace: 'default', name: 'all' } as const
    const stored = fake.get('secrets', documentName(key), routesNamespace)
    const { metadata } = stored
    const named = Object.keys(annotations).length > 0 ? { ...metadata.annotations, ...annotations } : {}
    fake.apply('secrets', { ...stored, metadata: { ...metadata, annotations: named }, ...more })
    await operator.untilIdle()
    await operator.stop()
    expect(marked(fake, 'VirtualRegistry', 'all')).toBe('all')
    expect(fake.documents()).toHaveLength(2)
  })

  it('goes with its object', async () => {
    const { fake, operator } = await settled()
    await operator.stop()
    strip(fake, 'VirtualRegistry', 'all')
    fake.remove('virtualregistries', 'all')
    const later = startFakeOperator(fake)
    await later.untilIdle()
    await later.stop()
    expect(fake.documents().map(({ route }) => route.name)).toEqual(['hub'])
  })
})
