import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createFakeCluster, resource, startFakeOperator } from './fake-cluster.ts'

const login = (password: string) => ({
  ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
  metadata: { name: 'login', annotations: { 'headwater.dev/registry-host': 'registry.example.com' } },
  data: { username: btoa('me'), password: btoa(password) },
})
const url = 'https://registry.example.com'
const hub = resource('Upstream', 'hub', { url, credentialsSecretRef: { name: 'login' } })
const all = resource('VirtualRegistry', 'all', { upstreams: [{ upstreamRef: { name: 'hub' } }] })

/** An operator that has brought a registry over one upstream to where it should be. */
async function settled() {
  const fake = createFakeCluster()
  fake.apply('secrets', login('canary-old'))
  fake.apply('upstreams', hub)
  fake.apply('virtualregistries', all)
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
