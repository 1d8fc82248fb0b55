import { describe, expect, it } from 'vitest'
import { documentName } from '../../operator/documents.ts'
import {
  createFakeCluster,
  type FakeCluster,
  resource,
  routesNamespace,
  startFakeOperator,
} from './fake-cluster.ts'

const upstreams = [{ upstreamRef: { name: 'hub' } }]
const key = { kind: 'VirtualRegistry', namespace: 'default', name: 'all' } as const
const later = { blobDelivery: 'Torrent' }
const written = (fake: FakeCluster) =>
  fake.documents().find(({ route }) => route.kind === 'VirtualRegistry' && route.name === 'all')?.route
const acceptedOf = (fake: FakeCluster, name: string) =>
  fake
    .get('virtualregistries', name)
    .status.conditions.find(({ type }: { type: string }) => type === 'Accepted')

async function settle(fake: FakeCluster): Promise<void> {
  const operator = startFakeOperator(fake)
  await operator.untilIdle()
  await operator.stop()
  expect(operator.errors).toEqual([])
}

/** What a later operator leaves behind: a document and a spec with a value that this one does not know. */
async function rolledBack({ path = 'default/all', annotations = true } = {}) {
  const fake = createFakeCluster()
  fake.apply('upstreams', resource('Upstream', 'hub', { url: 'https://registry.example.com' }))
  fake.apply('virtualregistries', resource('VirtualRegistry', 'all', { upstreams }))
  await settle(fake)
  const stored = fake.get('secrets', documentName(key), routesNamespace)
  const document = JSON.parse(Buffer.from(stored.data.document, 'base64').toString())
  const data = {
    document: btoa(JSON.stringify({ ...document, route: { ...document.route, ...later, path } })),
  }
  const metadata = { ...stored.metadata, ...(annotations ? {} : { annotations: {} }) }
  fake.apply('secrets', { ...stored, metadata, data })
  fake.apply('virtualregistries', resource('VirtualRegistry', 'all', { path, upstreams, ...later }))
  return fake
}

describe('a document of a later version, which cannot be read', () => {
  it.each([true, false])(
    'is served on, whether it says outside whose it is or not (%s)',
    async (annotations) => {
      const fake = await rolledBack({ annotations })
      await settle(fake)
      expect(written(fake)).toMatchObject(later)
      expect(acceptedOf(fake, 'all')).toMatchObject({ status: 'False', reason: 'InvalidSpec' })
      expect(acceptedOf(fake, 'all').message).toMatch(/; what was accepted before is served on$/)
    },
  )

  it('keeps its path from others', async () => {
    const fake = await rolledBack()
    fake.apply('virtualregistries', resource('VirtualRegistry', 'it', { path: 'default/all', upstreams }))
    await settle(fake)
    expect(acceptedOf(fake, 'it')).toMatchObject({ status: 'False', reason: 'PathConflict' })
    expect(fake.documents()).toHaveLength(2)
  })

  it('is written anew once the spec is one of this version', async () => {
    const fake = await rolledBack()
    fake.apply('virtualregistries', resource('VirtualRegistry', 'all', { path: 'default/one', upstreams }))
    await settle(fake)
    expect(written(fake)).toMatchObject({ path: 'default/one', blobDelivery: 'Proxy' })
  })

  it('goes where its path is no longer granted', async () => {
    const fake = await rolledBack({ path: 'granted-once' })
    await settle(fake)
    expect(written(fake)).toBeUndefined()
  })

  it('goes with its object', async () => {
    const fake = await rolledBack()
    fake.remove('virtualregistries', 'all')
    await settle(fake)
    expect(written(fake)).toBeUndefined()
  })
})
