import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { type Installation, install, type OperatorProcess, until } from '../../rig/kubernetes/installation.ts'
import { type Resource, registryResource, upstreamResources } from '../../rig/resources.ts'

const url = 'https://registry.example.com'
const login = { credentialsSecretRef: { name: 'theirs' } }
const references: readonly (readonly [string, Resource])[] = [
  ['credentialsSecretRef', login],
  ['tls.clientCertificateSecretRef', { tls: { clientCertificateSecretRef: { name: 'theirs-tls' } } }],
  ['tls.caCertificateRef to a Secret', { tls: { caCertificateRef: { kind: 'Secret', name: 'theirs-tls' } } }],
  ['tls.caCertificateRef to a ConfigMap', { tls: { caCertificateRef: { name: 'theirs' } } }],
]

/** What team-b has, and team-a would like to. */
const theirs: Resource[] = [
  {
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
    metadata: {
      ...{ name: 'theirs', namespace: 'team-b' },
      annotations: { 'headwater.dev/registry-host': 'registry.example.com' },
    },
    stringData: { username: 'canary-user', password: 'canary-word' },
  },
  {
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/tls' },
    metadata: { name: 'theirs-tls', namespace: 'team-b' },
    stringData: { 'tls.crt': 'canary-certificate', 'tls.key': 'canary-key' },
  },
  {
    ...{ apiVersion: 'v1', kind: 'ConfigMap' },
    metadata: { name: 'theirs', namespace: 'team-b' },
    data: { 'ca.crt': '-----BEGIN CERTIFICATE-----\ncanary-authority\n-----END CERTIFICATE-----\n' },
  },
]

describeWithParts(apiServerParts, 'an operator of some namespaces alone', () => {
  let server: ApiServer
  let headwater: Installation
  let operator: OperatorProcess

  const bind = (namespace: string) =>
    server.mustKubectl([
      ...['create', 'rolebinding', 'headwater', '-n', namespace, '--clusterrole=headwater-operator-watched'],
      '--serviceaccount=headwater-system:headwater-operator',
    ])
  const watch = async (...namespaces: string[]) => {
    await operator?.stop(10_000)
    operator = await headwater.startOperator(namespaces.flatMap((each) => ['--watch-namespace', each]))
    await until(() => /"leading":true/.test(operator.log()))
  }
  const resources = (namespace: string) => [
    ...upstreamResources('hub', { url, namespace }),
    registryResource('all', ['hub'], { namespace }),
  ]
  const served = async () =>
    (await headwater.documents())
      .map(({ route }) => `${route.kind} ${route.namespace}/${route.name}`)
      .toSorted()
  const isReady = { type: 'Ready', status: 'True' }

  beforeAll(async () => {
    server = await startApiServer()
    headwater = await install(server)
    await server.mustKubectl(['delete', 'clusterrolebinding', 'headwater-operator-watched'])
    for (const namespace of ['team-a', 'team-b']) await server.createNamespace(namespace)
    await bind('team-a')
  })
  afterAll(async () => {
    await headwater?.close()
    await server?.close()
  })

  it('serves what is in them, with rights in them, and does not look at others', async () => {
    await watch('team-a')
    await headwater.apply([...resources('team-a'), ...resources('team-b')])
    await headwater.condition('virtualregistries', 'all', { ...isReady, namespace: 'team-a' })
    expect(await served()).toEqual(['Upstream team-a/hub', 'VirtualRegistry team-a/all'])
    const other = await headwater.get('virtualregistries', 'all', 'team-b')
    expect(other.status).toEqual({ observedGeneration: -1 })
    expect(operator.log()).toContain('"watched":["team-a"]')
    expect(operator.log()).not.toContain('403')
    expect((await fetch(`${operator.adminUrl}/readyz`)).status).toBe(200)
  })

  it('leaves alone what is served of a namespace that it no longer watches, and says so', async () => {
    await bind('team-b')
    await watch('team-b')
    await headwater.condition('virtualregistries', 'all', { ...isReady, namespace: 'team-b' })
    expect(operator.log()).toContain('"documents":2,"namespaces":["team-a"]')
    await headwater.remove('virtualregistry', 'all', 'team-b')
    await until(async () => (await served()).length === 3)
    expect(await served()).toEqual([
      'Upstream team-a/hub',
      'Upstream team-b/hub',
      'VirtualRegistry team-a/all',
    ])
    await watch('team-a', 'team-b')
    await headwater.remove('virtualregistry', 'all', 'team-a')
    await until(async () => (await served()).length === 2)
    expect(operator.log()).not.toContain('are not watched')
  })

  it.each(references)('K23: finds nothing of another namespace by %s', async (_field, spec) => {
    await headwater.apply(theirs)
    await headwater.apply(upstreamResources('borrower', { url, namespace: 'team-a', spec }))
    const wanted = { type: 'ResolvedRefs', status: 'False', reason: 'RefNotFound', namespace: 'team-a' }
    const { status } = await headwater.condition('upstreams', 'borrower', wanted)
    expect(JSON.stringify(status)).toContain('in this namespace')
    expect(JSON.stringify([status, await headwater.documents()])).not.toContain('canary-')
    expect(operator.log()).not.toContain('canary-')
  })

  it('K23: finds no Upstream of another namespace, and does not say whether it is there', async () => {
    await headwater.apply(upstreamResources('secret-name', { url, namespace: 'team-b' }))
    const said = async (name: string) => {
      await headwater.apply([registryResource(`of-${name}`, [name], { namespace: 'team-a' })])
      const wanted = { type: 'ResolvedRefs', status: 'False', reason: 'RefNotFound', namespace: 'team-a' }
      const { status } = await headwater.condition('virtualregistries', `of-${name}`, wanted)
      return JSON.stringify(status.conditions.map(({ message }: { message: string }) => message))
    }
    const [existing, none] = [await said('secret-name'), await said('nothing')]
    expect(existing.replaceAll('secret-name', 'nothing')).toBe(none)
  })
})
