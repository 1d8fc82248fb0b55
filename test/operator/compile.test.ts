import { expect, it } from 'vitest'
import { compileResources } from '../../operator/compile.ts'
import { RouteDocuments } from '../../proxy/routes.ts'
import { registry, upstream } from './builders.ts'

const none = { upstreams: [], virtualRegistries: [], secrets: [], configMaps: [] }

it('makes a whole set of routes', () => {
  const access = {
    rules: [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'], repositories: ['library/*'] }],
  }
  const upstreams = [
    { upstreamRef: { name: 'hub' }, repositories: { include: ['library/**'], exclude: ['library/x'] } },
    { upstreamRef: { name: 'quay' }, failurePolicy: 'Ignore' },
  ]
  const { documents, problems } = compileResources({
    ...none,
    upstreams: [upstream({}), upstream({ defaultRepositoryPrefix: 'library' }, { name: 'quay' })],
    virtualRegistries: [registry({ upstreams, access, hosts: ['images.example.com'] })],
  })
  expect(problems).toEqual([])
  expect(RouteDocuments.parse(documents)).toEqual(documents)
  expect(documents.upstreams.map(({ name }) => name)).toEqual(['hub', 'quay'])
  expect(documents.registries).toEqual([
    {
      kind: 'VirtualRegistry',
      namespace: 'default',
      name: 'all',
      path: 'default/all',
      hosts: ['images.example.com'],
      upstreams: [
        { name: 'hub', include: ['library/**'], exclude: ['library/x'], failurePolicy: 'Fail' },
        { name: 'quay', include: ['**'], exclude: [], failurePolicy: 'Ignore' },
      ],
      access,
      blobDelivery: 'Proxy',
      serving: 'Enabled',
    },
  ])
})

it('K23: finds references in their own namespace only', () => {
  const { problems } = compileResources({
    ...none,
    upstreams: [upstream({}, { namespace: 'other' })],
    virtualRegistries: [registry({})],
  })
  expect(problems).toEqual([
    {
      kind: 'VirtualRegistry',
      namespace: 'default',
      name: 'all',
      path: ['spec', 'upstreams', 0, 'upstreamRef', 'name'],
      reason: 'RefNotFound',
      message: 'there is no Upstream hub in this namespace',
      missing: { kind: 'Upstream', name: 'hub' },
    },
  ])
})

it('keeps the place of an upstream that is not there', () => {
  const { documents } = compileResources({ ...none, virtualRegistries: [registry({})] })
  expect(documents.registries[0]?.upstreams.map(({ name }) => name)).toEqual(['hub'])
})

it.each([
  ['hub', 'hub', 'PathConflict', 'hub is the path of default/first'],
  ['hub', 'hub/x', 'PathConflict', 'hub/x lies below hub, the path of default/first'],
  ['hub/x', 'hub', 'PathConflict', 'hub lies above hub/x, the path of default/first'],
])('serves %s and not %s after it', (first, second, reason, message) => {
  const { documents, problems } = compileResources({
    ...none,
    upstreams: [upstream({})],
    virtualRegistries: [
      registry({ path: first }, { name: 'first' }),
      registry({ path: second }, { name: 'second' }),
    ],
  })
  expect(problems).toEqual([
    expect.objectContaining({ name: 'second', path: ['spec', 'path'], reason, message }),
  ])
  expect(documents.registries.map(({ name }) => name)).toEqual(['first'])
})

it('says which host is taken', () => {
  const { problems } = compileResources({
    ...none,
    upstreams: [upstream({})],
    virtualRegistries: [
      registry({ hosts: ['a.example'] }, { name: 'first' }),
      registry({ hosts: ['b.example', 'a.example'] }, { name: 'second' }),
    ],
  })
  expect(problems).toEqual([
    expect.objectContaining({
      path: ['spec', 'hosts', 1],
      reason: 'HostConflict',
      message: 'a.example is a host of default/first',
    }),
  ])
})

it('has no default path in a namespace called v2', () => {
  const { documents, problems } = compileResources({
    ...none,
    upstreams: [upstream({}, { namespace: 'v2' })],
    virtualRegistries: [registry({}, { namespace: 'v2' })],
  })
  expect(problems).toMatchObject([{ path: ['spec', 'path'], reason: 'InvalidPath' }])
  expect(documents.registries).toEqual([])
})
