import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { CleanupPolicy } from '../../../operator/api/cleanup-policy.ts'
import { parseResource } from '../../../operator/api/parse.ts'
import { globPattern } from '../../../operator/api/patterns.ts'
import { Upstream } from '../../../operator/api/upstream.ts'
import { VirtualRegistry } from '../../../operator/api/virtual-registry.ts'
import { globPattern as proxyGlobPattern } from '../../../proxy/oci/glob.ts'
import { registry, upstream } from '../builders.ts'

type Node = Readonly<Record<string, unknown>>

const kinds = { Upstream, VirtualRegistry, CleanupPolicy }

function schemaOf(kind: keyof typeof kinds): Node {
  return z.toJSONSchema(kinds[kind], { target: 'openapi-3.0', io: 'input' }) as Node
}

/** Every schema in a schema, with its place. */
function nodesOf(node: Node, place: string): { place: string; node: Node }[] {
  const properties = Object.entries((node.properties ?? {}) as Record<string, Node>)
  const inner = [
    ...properties.map(([name, property]) => ({ place: `${place}.${name}`, node: property })),
    ...['items', 'additionalProperties'].flatMap((word) =>
      typeof node[word] === 'object' ? [{ place: `${place}[]`, node: node[word] as Node }] : [],
    ),
  ]
  return [{ place, node }, ...inner.flatMap((each) => nodesOf(each.node, each.place))]
}

const nodes = Object.keys(kinds).flatMap((kind) => nodesOf(schemaOf(kind as keyof typeof kinds), kind))

describe('the schemas of the kinds', () => {
  it('take the same globs as the proxy', () => {
    expect(String(globPattern)).toBe(String(proxyGlobPattern))
  })

  it('describe every field', () => {
    const properties = nodes.filter(({ place }) => place.includes('.') && !place.endsWith('[]'))
    expect(properties.length).toBeGreaterThan(60)
    expect(properties.filter(({ node }) => !node.description).map(({ place }) => place)).toEqual([])
  })

  it('are structural: nothing that a CRD may not say', () => {
    const banned = ['$ref', 'anyOf', 'oneOf', 'allOf', 'not', 'const', 'patternProperties', 'nullable']
    const strays = nodes.filter(({ node }) => banned.some((word) => word in node) || node.type === undefined)
    expect(strays.map(({ place }) => place)).toEqual([])
    expect(nodes.filter(({ node }) => node.additionalProperties === false)).toEqual([])
  })

  it('use patterns that RE2 knows', () => {
    const patterns = nodes.flatMap(({ node }) => (typeof node.pattern === 'string' ? [node.pattern] : []))
    expect(patterns.length).toBeGreaterThan(10)
    expect(patterns.filter((pattern) => /\(\?[=!<]|\\[1-9]/.test(pattern))).toEqual([])
  })

  it('bound every list and say how it is merged', () => {
    const lists = nodes.filter(({ node }) => node.type === 'array')
    const loose = lists.filter(({ node }) => !node.maxItems || node['x-kubernetes-list-type'] !== 'atomic')
    expect(loose.map(({ place }) => place)).toEqual([])
  })

  it('bound every text in a spec', () => {
    const texts = nodes.filter(
      ({ place, node }) => place.includes('.spec') && node.type === 'string' && !node.enum,
    )
    const loose = texts.filter(({ node }) => !node.maxLength && node.pattern !== timeOfDay)
    expect(loose.map(({ place }) => place)).toEqual([])
  })

  it('give every rule beyond the schema to the API server too', () => {
    const rules = nodes.flatMap(({ place, node }) => (node['x-kubernetes-validations'] ? [place] : []))
    expect(rules).toEqual([
      'Upstream.spec',
      'VirtualRegistry.spec.upstreams',
      'VirtualRegistry.spec.path',
      'VirtualRegistry.spec.hosts',
    ])
  })
})

const timeOfDay = '^([01][0-9]|2[0-3]):[0-5][0-9]$'

describe('defaults', () => {
  it('fill in an upstream', () => {
    expect(upstream({}).spec).toEqual({
      url: 'https://registry.example.com',
      revalidation: { policy: 'AfterValidity', validitySeconds: 86400 },
      tokenServiceHosts: [],
      mirrorOf: [],
      mode: 'Active',
    })
    expect(upstream({ revalidation: { policy: 'Never' } }).spec.revalidation.validitySeconds).toBe(86400)
    const tls = { caCertificateRef: { name: 'corp-ca' } }
    expect(upstream({ tls }).spec.tls?.caCertificateRef).toEqual({
      kind: 'ConfigMap',
      name: 'corp-ca',
      key: 'ca.crt',
    })
  })

  it('fill in a registry, which nobody may use', () => {
    expect(registry({}).spec).toEqual({
      upstreams: [
        {
          upstreamRef: { name: 'hub' },
          repositories: { include: ['**'], exclude: [] },
          failurePolicy: 'Fail',
        },
      ],
      hosts: [],
      access: { rules: [] },
      blobDelivery: 'Proxy',
      serving: 'Enabled',
    })
    const rules = [{ subjects: [{ type: 'Anonymous' }], verbs: ['Pull'] }]
    expect(registry({ access: { rules } }).spec.access.rules[0]?.repositories).toEqual(['**'])
  })

  it('fill in a cleanup policy', () => {
    const metadata = { name: 'weekly', namespace: 'default' }
    const policy = { apiVersion: 'headwater.dev/v1alpha1', kind: 'CleanupPolicy', metadata }
    expect(parseResource(CleanupPolicy, policy).value?.spec).toEqual({
      keepAfterDownloadDays: 30,
      schedule: { cadence: 'Weekly', timeOfDay: '03:00', timeZone: 'Etc/UTC' },
      mode: 'Delete',
      suspend: false,
    })
  })
})

describe('addresses of upstreams', () => {
  it.each([
    'https://registry-1.docker.io',
    'HTTPS://Registry.Example.com/',
    'http://127.0.0.1:5000/v2/',
    'https://[::1]:5000',
    'https://jfrog.example.com/artifactory/api/docker/hub-remote',
    'http://my_registry:65535',
  ])('may be %s', (url) => {
    expect(upstream({ url }).spec.url).toBe(url)
  })

  it.each([
    'ftp://example.com',
    'example.com',
    'https://',
    'https://me@example.com',
    'https://me:s3cret@example.com/',
    'https://example.com?x=1',
    'https://example.com/#top',
    'https://example.com/a/../b',
    'https://example.com/a%2fb',
    'https://example.com//a',
    'https://example.com.',
    'https://example.com:0',
    'https://example.com:65536',
    'https://exämple.com',
    'https://example.com/a\n',
    `https://example.com/${'a'.repeat(255)}`,
  ])('may not be %j', (url) => {
    expect(() => upstream({ url })).toThrow()
  })

  it('refuses tls without https', () => {
    expect(() => upstream({ url: 'http://a', tls: {} })).toThrow('tls needs a url with https://')
  })
})

it('takes at most twenty upstreams, each once', () => {
  const named = (count: number) =>
    Array.from({ length: count }, (_, at) => ({ upstreamRef: { name: `u${at}` } }))
  expect(registry({ upstreams: named(20) }).spec.upstreams).toHaveLength(20)
  expect(() => registry({ upstreams: named(21) })).toThrow('expected at most 20 upstreams')
  expect(() => registry({ upstreams: [] })).toThrow('expected at least one upstream')
  expect(() => registry({ upstreams: [...named(2), ...named(1)] })).toThrow('expected each upstream once')
})

it.each(['v2', 'a/v2', 'v2/a', 'A', 'a/', '/a', 'a//b', 'a..b', '-a', ''])('refuses the path %j', (path) => {
  expect(() => registry({ path })).toThrow()
})

it.each(['hub', 'team-a/platform', 'a__b/c.d', 'v22'])('takes the path %j', (path) => {
  expect(registry({ path }).spec.path).toBe(path)
})
