import { describe, expect, it } from 'vitest'
import { assembleRoutes } from '../../proxy/route-set.ts'
import {
  featuresOf,
  type RegistryRoute,
  type RouteDocument,
  registryRevision,
  supportedFeatures,
  type UpstreamRoute,
} from '../../proxy/routes.ts'

const upstream: UpstreamRoute = {
  kind: 'Upstream',
  namespace: 'default',
  name: 'hub',
  id: 'a'.repeat(64),
  origin: 'o',
  url: 'https://registry.example.com',
  credentials: { username: 'me', password: 'canary-word' },
  revalidation: { policy: 'AfterValidity', validitySeconds: 86400 },
  tokenServiceHosts: [],
  namespaceHosts: ['registry.example.com'],
  mode: 'Active',
}
const registry: RegistryRoute = {
  kind: 'VirtualRegistry',
  namespace: 'default',
  name: 'all',
  path: 'default/all',
  hosts: [],
  upstreams: [{ name: 'hub', include: ['**'], exclude: [], failurePolicy: 'Fail' }],
  access: { rules: [] },
  blobDelivery: 'Proxy',
  serving: 'Enabled',
}
const text = (route: unknown, more: object = {}) =>
  JSON.stringify({ features: [], revision: 'r', route, ...more })
const documentOf = (route: UpstreamRoute | RegistryRoute): RouteDocument => ({
  features: [],
  revision: 'old',
  route,
})
const nothing = new Map<string, RouteDocument>()

describe('a set of routes', () => {
  it('is made of all documents, in the order of their names, whatever else they hold', () => {
    const texts = new Map([
      ['registry-1', text({ ...registry, later: 'field' })],
      ['upstream-1', text(upstream, { later: 'field' })],
    ])
    const { documents, taken, problems } = assembleRoutes(texts, nothing)
    expect(documents).toEqual({ upstreams: [upstream], registries: [registry] })
    expect([...taken.keys()]).toEqual(['registry-1', 'upstream-1'])
    expect(problems).toEqual([])
  })

  it('is whole when it is empty', () => {
    const last = new Map([['registry-1', documentOf(registry)]])
    expect(assembleRoutes(new Map(), last)).toEqual({
      taken: new Map(),
      documents: { upstreams: [], registries: [] },
      problems: [],
    })
  })

  it.each<[string, string | undefined, string]>([
    ['no text', undefined, 'is no document that this version can read'],
    ['no JSON', '{"route": canary-word', 'is no document that this version can read'],
    ['null', 'null', 'is no document that this version can read'],
    ['no route', text({ kind: 'Upstream' }), 'is no document that this version can read'],
    ['a kind of later', text({ kind: 'Later' }), 'is no document that this version can read'],
    [
      'a feature of later',
      text(registry, { features: ['later', 'known'] }),
      'needs what this version cannot do: later',
    ],
    [
      'a feature of later and a shape of later',
      text({ kind: 'L' }, { features: ['later'] }),
      'needs what this version cannot do: later',
    ],
  ])(
    'P13: keeps the last good of a document with %s, and has nothing of one that never was good',
    (_title, bad, reason) => {
      const texts = new Map([
        ['registry-1', bad],
        ['upstream-1', text(upstream)],
      ])
      const known = assembleRoutes(texts, new Map([['registry-1', documentOf(registry)]]), ['known'])
      expect(known.documents.registries).toEqual([registry])
      expect(known.problems).toEqual([{ name: 'registry-1', reason, isServed: true }])
      const unknown = assembleRoutes(texts, nothing, ['known'])
      expect(unknown.documents).toEqual({ upstreams: [upstream], registries: [] })
      expect(unknown.problems).toEqual([{ name: 'registry-1', reason, isServed: false }])
      expect(JSON.stringify([known.problems, unknown.problems])).not.toContain('canary')
    },
  )

  it('needs a feature only where a route uses it', () => {
    expect([featuresOf(upstream), featuresOf(registry)]).toEqual([[], []])
    expect(featuresOf({ ...registry, blobDelivery: 'Redirect' })).toEqual(['redirect'])
    expect(supportedFeatures.every((feature) => ['redirect'].includes(feature))).toBe(true)
  })

  it('has another revision when any of its parts has', () => {
    const all = [
      registryRevision('a', ['b', 'c']),
      registryRevision('a', ['c', 'b']),
      registryRevision('a', ['b', undefined]),
      registryRevision('b', ['b', 'c']),
      registryRevision('a', ['b']),
    ]
    expect(new Set(all).size).toBe(all.length)
  })
})
