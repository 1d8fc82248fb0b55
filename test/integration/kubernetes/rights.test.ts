import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { install, routesNamespace } from '../../rig/kubernetes/installation.ts'

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

it('gives no rights by a star', () => {
  const files = readdirSync('config/rbac').map((name) => readFileSync(`config/rbac/${name}`, 'utf8'))
  const rules = files.flatMap((text) =>
    parseAllDocuments(text).flatMap((each) => (each.toJS() as { rules?: Rule[] }).rules ?? []),
  )
  expect(rules.length).toBeGreaterThan(8)
  expect(
    rules.flatMap(({ apiGroups, resources, verbs }) => [...apiGroups, ...resources, ...verbs]),
  ).not.toContain('*')
})

describeWithParts(apiServerParts, 'the rights of the programs', () => {
  let server: ApiServer

  beforeAll(async () => {
    server = await startApiServer()
    await install(server)
  })
  afterAll(() => server?.close())

  /** A subresource stands behind a `#`, as behind a slash stands a name. */
  const can = async (account: string, verb: string, wanted: string, namespace: string) => {
    const as = `system:serviceaccount:headwater-system:${account}`
    const [resource = '', subresource = ''] = wanted.split('#')
    const args = ['auth', 'can-i', verb, resource, '--subresource', subresource, '-n', namespace, '--as', as]
    return (await server.kubectl(args)).stdout.trim().split('\n').at(-1) === 'yes'
  }

  it.each([
    ['list', 'upstreams.headwater.dev', 'default'],
    ['watch', 'virtualregistries.headwater.dev', 'default'],
    ['watch', 'cleanuppolicies.headwater.dev', 'default'],
    ['patch', 'upstreams.headwater.dev#status', 'default'],
    ['patch', 'cleanuppolicies.headwater.dev#status', 'default'],
    ['watch', 'secrets', 'default'],
    ['list', 'configmaps', 'default'],
    ['create', 'events.events.k8s.io', 'default'],
    ['patch', 'secrets', routesNamespace],
    ['delete', 'secrets', routesNamespace],
    ['update', 'leases.coordination.k8s.io/headwater-operator', 'headwater-system'],
    ['list', 'leases.coordination.k8s.io/headwater-operator', 'kube-system'],
    ['watch', 'endpointslices.discovery.k8s.io', 'headwater-system'],
    ['get', 'customresourcedefinitions.apiextensions.k8s.io/upstreams.headwater.dev', 'default'],
  ])('let the operator %s %s in %s', async (verb, resource, namespace) => {
    expect(await can('headwater-operator', verb, resource, namespace)).toBe(true)
  })

  it.each([
    ['update', 'upstreams.headwater.dev', 'default'],
    ['patch', 'virtualregistries.headwater.dev', 'default'],
    ['delete', 'upstreams.headwater.dev', 'default'],
    ['patch', 'cleanuppolicies.headwater.dev', 'default'],
    ['get', 'secrets', 'default'],
    ['create', 'secrets', 'default'],
    ['patch', 'secrets', 'default'],
    ['delete', 'secrets', 'default'],
    ['create', 'pods', 'default'],
    ['list', 'endpointslices.discovery.k8s.io', 'default'],
    ['get', 'secrets', 'kube-system'],
    ['update', 'leases.coordination.k8s.io/headwater-operator', 'kube-system'],
    ['list', 'leases.coordination.k8s.io', 'kube-system'],
    ['update', 'leases.coordination.k8s.io/another', 'headwater-system'],
    ['update', 'customresourcedefinitions.apiextensions.k8s.io', 'default'],
    ['impersonate', 'users', 'default'],
    ['create', 'serviceaccounts#token', 'headwater-system'],
  ])('do not let the operator %s %s in %s', async (verb, resource, namespace) => {
    expect(await can('headwater-operator', verb, resource, namespace)).toBe(false)
  })

  it.each(['get', 'create', 'update', 'patch', 'delete', 'deletecollection'])(
    'do not let a proxy %s Secrets, in the routes namespace or elsewhere',
    async (verb) => {
      expect(await can('headwater-proxy', verb, 'secrets', routesNamespace)).toBe(false)
      expect(await can('headwater-proxy', verb, 'secrets', 'default')).toBe(false)
    },
  )

  it.each([
    'deployments.apps',
    'deployments.apps#scale',
    'statefulsets.apps',
    'horizontalpodautoscalers.autoscaling',
  ])('K20: let nobody of ours change %s: what somebody scales stays as it was scaled', async (resource) => {
    for (const account of ['headwater-operator', 'headwater-proxy']) {
      for (const verb of ['create', 'update', 'patch', 'delete']) {
        expect(await can(account, verb, resource, 'headwater-system')).toBe(false)
      }
    }
  })

  it('let a proxy list and watch the routes namespace alone', async () => {
    for (const verb of ['list', 'watch']) {
      expect(await can('headwater-proxy', verb, 'secrets', routesNamespace)).toBe(true)
      expect(await can('headwater-proxy', verb, 'secrets', 'headwater-system')).toBe(false)
      expect(await can('headwater-proxy', verb, 'upstreams.headwater.dev', 'default')).toBe(false)
    }
  })

  it('let a proxy read where the API server is, and no other endpoints', async () => {
    const slices = 'endpointslices.discovery.k8s.io'
    expect(await can('headwater-proxy', 'get', `${slices}/kubernetes`, 'default')).toBe(true)
    expect(await can('headwater-proxy', 'get', `${slices}/another`, 'default')).toBe(false)
    expect(await can('headwater-proxy', 'list', slices, 'default')).toBe(false)
    expect(await can('headwater-proxy', 'get', `${slices}/kubernetes`, 'kube-system')).toBe(false)
  })

  it('give the kinds to those who may edit or view a namespace', async () => {
    const { body } = await server.client.request(
      'GET',
      '/apis/rbac.authorization.k8s.io/v1/clusterroles?labelSelector=rbac.authorization.k8s.io/aggregate-to-edit=true',
    )
    const names = body.items.map(({ metadata }: { metadata: { name: string } }) => metadata.name)
    expect(names).toEqual(expect.arrayContaining(['headwater-edit', 'headwater-view']))
  })
})
