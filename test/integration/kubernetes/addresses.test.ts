import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { type Installation, install, type ProxyProcess, until } from '../../rig/kubernetes/installation.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

/** For documentation alone: nobody has it. */
const address = '203.0.113.7'

describeWithParts(apiServerParts, 'what an upstream may not be', () => {
  let server: ApiServer
  let headwater: Installation
  let proxy: ProxyProcess

  beforeAll(async () => {
    server = await startApiServer()
    headwater = await install(server)
    const slice = {
      metadata: { name: 'kubernetes', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      ...{ addressType: 'IPv4', ports: [{ name: 'https', port: 6443 }] },
      endpoints: [{ addresses: [address] }],
    }
    const path = '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices'
    mustSucceed(await server.client.request('POST', path, slice))
    proxy = await headwater.startProxy()
    await until(() => proxy.log().includes(`"${address}"`))
    await headwater.startOperator()
    await headwater.apply([
      ...upstreamResources('sly', { url: `https://${address}:6443` }),
      registryResource('all', ['sly']),
    ])
    await headwater.condition('virtualregistries', 'all', { type: 'Ready', status: 'True' })
  })
  afterAll(async () => {
    await headwater?.close()
    await server?.close()
  })

  it('is the API server behind its Service, whose addresses only it itself knows', async () => {
    const path = '/v2/default/all/library/alpine/manifests/1'
    await until(async () => (await proxy.get(path)).status !== 404)
    const begun = performance.now()
    const answer = await proxy.get(path)
    expect(answer.status).toBe(503)
    expect(await answer.text()).not.toContain(address)
    expect(performance.now() - begun).toBeLessThan(2000) // nobody was waited for
    // lines are written a moment after what they tell of
    await until(() => proxy.log().includes(`${address} is at an address that is not permitted`))
  })
})
