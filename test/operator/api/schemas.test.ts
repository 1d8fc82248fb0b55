import { describe, expect, it } from 'vitest'
import { CleanupPolicy } from '../../../operator/api/cleanup-policy.ts'
import { parseResource } from '../../../operator/api/parse.ts'
import { globPattern } from '../../../operator/api/patterns.ts'
import { globPattern as proxyGlobPattern } from '../../../proxy/oci/glob.ts'
import { registry, upstream } from '../builders.ts'

it('takes the same globs as the proxy', () => {
  expect(String(globPattern)).toBe(String(proxyGlobPattern))
})

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
