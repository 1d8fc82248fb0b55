import { afterEach, expect, it } from 'vitest'
import { documentName } from '../../operator/documents.ts'
import { createFleet, type Fleet } from '../../operator/proxies/fleet.ts'
import { servedOf } from '../../proxy/internal/served.ts'
import type { ProxyState, RouteDocument } from '../../proxy/routes.ts'
import { createFakeCluster, type FakeCluster, resource, startFakeOperator } from './fake-cluster.ts'

const url = 'http://10.0.0.1:5053'
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** What a proxy says that serves these documents, and reached every upstream. */
function stateOf(documents: readonly RouteDocument[]): ProxyState {
  const taken = new Map(documents.map((document, index) => [`${index}`, document]))
  const { used, registries, upstreams } = servedOf(taken, [])
  const health = Object.fromEntries(
    used.map(({ route, revision }) => [`${route.namespace}/${route.name}`, { id: route.id, revision }]),
  )
  return {
    ...{ version: 'v', proxy: { id: 'p', version: '1' }, isReady: true, isDraining: false },
    ...{ registries, upstreams, problems: {}, health },
  }
}

function start(fake: FakeCluster, fleet: Fleet, patienceMs: number) {
  const operator = startFakeOperator(fake, { delivery: fleet, patienceMs })
  stops.push(async () => {
    fleet.close()
    await operator.stop()
  })
  return operator
}

function someObjects(): FakeCluster {
  const fake = createFakeCluster()
  fake.apply('upstreams', resource('Upstream', 'hub', { url: 'https://registry.example.com' }))
  fake.apply(
    'virtualregistries',
    resource('VirtualRegistry', 'all', { upstreams: [{ upstreamRef: { name: 'hub' } }] }),
  )
  return fake
}

const programmed = (fake: FakeCluster, plural: string, name: string) =>
  fake.get(plural, name)?.status?.conditions?.find(({ type }: { type: string }) => type === 'Programmed') as
    | { status: string; reason: string; message: string }
    | undefined
const statusWrites = (fake: FakeCluster) => fake.writes.filter((write) => write.startsWith('status')).length

it('writes the status of each object once when the proxies are quick', async () => {
  const fake = someObjects()
  const fleet = createFleet({ now: () => performance.now() })
  fleet.setProxies([url])
  const operator = start(fake, fleet, 60_000)
  await operator.untilIdle()
  expect(statusWrites(fake)).toBe(0)
  fleet.setState(url, stateOf(fake.documents()))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.status).toBe('True')
  await expect.poll(() => programmed(fake, 'upstreams', 'hub')?.status).toBe('True')
  await operator.untilIdle()
  expect(statusWrites(fake)).toBe(2)
})

it('says Pending when they are not, and that a later version is Programmed only when it is', async () => {
  const fake = someObjects()
  const fleet = createFleet({ now: () => performance.now() })
  fleet.setProxies([url])
  fleet.setState(url, stateOf([]))
  await start(fake, fleet, 20)
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.reason).toBe('Pending')
  fleet.setState(url, stateOf(fake.documents()))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.status).toBe('True')

  // the upstream alone changes, and the registry over it is served anew as well
  fake.apply('upstreams', resource('Upstream', 'hub', { url: 'https://other.example.com' }))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.reason).toBe('Pending')
  fleet.setState(url, stateOf(fake.documents()))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.status).toBe('True')
  await expect.poll(() => programmed(fake, 'upstreams', 'hub')?.status).toBe('True')
})

it('says NotTaken of a registry, and not Pending, where a proxy cannot take one of its upstreams', async () => {
  const fake = someObjects()
  const fleet = createFleet({ now: () => performance.now() })
  fleet.setProxies([url])
  const operator = start(fake, fleet, 20)
  await operator.untilIdle()
  const hub = documentName({ kind: 'Upstream', namespace: 'default', name: 'hub' })
  const registries = fake.documents().filter(({ route }) => route.kind === 'VirtualRegistry')
  const problems = { [hub]: 'needs what this version cannot do: magic' }
  fleet.setState(url, { ...stateOf(registries), problems })
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.reason).toBe('NotTaken')
  expect(programmed(fake, 'virtualregistries', 'all')?.message).toMatch(/^Upstream hub: .*magic$/)

  fleet.setState(url, stateOf(fake.documents()))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.status).toBe('True')
})

it('writes nothing more when proxies come, go and begin anew, nor when the operator does', async () => {
  const fake = someObjects()
  const fleet = createFleet({ now: () => performance.now() })
  fleet.setProxies([url])
  const operator = start(fake, fleet, 20)
  await operator.untilIdle()
  fleet.setState(url, stateOf(fake.documents()))
  await expect.poll(() => programmed(fake, 'virtualregistries', 'all')?.status).toBe('True')
  await expect.poll(() => programmed(fake, 'upstreams', 'hub')?.status).toBe('True')
  await operator.untilIdle()
  const before = fake.writes.length

  fleet.setTrouble(url, 'ECONNREFUSED')
  fleet.setProxies([url, 'http://10.0.0.2:5053'])
  fleet.setState(url, { ...stateOf([]), isReady: false })
  fleet.setProxies([])
  await operator.untilIdle()
  await stops.splice(0)[0]!()
  await start(fake, createFleet({ now: () => performance.now() }), 20).untilIdle()
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(fake.writes.slice(before)).toEqual([])
})
