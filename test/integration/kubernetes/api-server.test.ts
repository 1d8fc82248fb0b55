import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { startControllers } from '../../rig/kubernetes/controllers.ts'

const upstreams = '/apis/headwater.dev/v1alpha1/namespaces/team-a/upstreams'

describeWithParts([...apiServerParts, 'kube-controller-manager'], 'the API server of the tests', () => {
  let server: ApiServer

  beforeAll(async () => {
    server = await startApiServer()
    await server.createNamespace('team-a')
    const metadata = { name: 'hub' }
    const object = {
      apiVersion: 'headwater.dev/v1alpha1',
      kind: 'Upstream',
      metadata,
      spec: { url: 'https://a' },
    }
    mustSucceed(await server.client.request('POST', upstreams, object))
  })
  afterAll(() => server?.close())

  it('gives an account the rights that RBAC gives it, and no others', async () => {
    const { client, kubeconfig } = await server.serviceAccount('team-a', 'reader')
    expect(await client.request('GET', upstreams)).toMatchObject({ status: 403 })
    await server.mustKubectl(['create', 'role', 'reader', '-n', 'team-a', '--verb=list', '--resource=ups'])
    const binding = ['create', 'rolebinding', 'reader', '-n', 'team-a', '--role=reader']
    await server.mustKubectl([...binding, '--serviceaccount=team-a:reader'])
    await expect.poll(async () => (await client.request('GET', upstreams)).status).toBe(200)
    const whoami = [
      '--kubeconfig',
      kubeconfig,
      'auth',
      'whoami',
      '-o',
      'jsonpath={.status.userInfo.username}',
    ]
    expect(await server.mustKubectl(whoami)).toBe('system:serviceaccount:team-a:reader')
    expect(await client.request('GET', '/api/v1/namespaces/team-a/secrets')).toMatchObject({ status: 403 })
  })

  it('K19: empties a namespace with everything of ours in it', async () => {
    const namespace = await server.createNamespace('to-go')
    const resource = (kind: string, spec: object) =>
      JSON.stringify({ apiVersion: 'headwater.dev/v1alpha1', kind, metadata: { name: 'x', namespace }, spec })
    const objects = [
      resource('Upstream', { url: 'https://a' }),
      resource('VirtualRegistry', { upstreams: [{ upstreamRef: { name: 'x' } }] }),
      resource('CleanupPolicy', {}),
    ]
    await server.mustKubectl(['apply', '-f', '-'], objects.join('\n---\n'))
    const controllers = await startControllers(server)
    await server.mustKubectl(['delete', 'namespace', namespace, '--timeout=60s'])
    await controllers.stop()
    for (const plural of ['upstreams', 'virtualregistries', 'cleanuppolicies']) {
      const path = `/apis/headwater.dev/v1alpha1/namespaces/${namespace}/${plural}`
      expect((await server.client.request('GET', path)).body.items).toEqual([])
    }
  })

  it('comes back on the same port with what was stored, after a stop and after a crash', async () => {
    const { pid } = server
    await server.stop()
    await expect(server.client.request('GET', upstreams)).rejects.toThrow()
    await server.start()
    expect(server.pid).not.toBe(pid)
    await server.kill9()
    await server.start()
    expect((await server.client.request('GET', upstreams)).body.items).toHaveLength(1)
  })
})
