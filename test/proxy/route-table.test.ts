import { describe, expect, it } from 'vitest'
import { createRouteTable, eligibleUpstreams } from '../../proxy/route-table.ts'
import { registry, upstream } from './http/fixtures.ts'

const table = createRouteTable({
  upstreams: [
    upstream('hub', {
      defaultRepositoryPrefix: 'library',
      namespaceHosts: ['docker.io', 'registry-1.docker.io'],
    }),
    upstream('quay', { namespaceHosts: ['quay.io'] }),
    upstream('hub', { namespace: 'other', url: 'https://theirs.example' }),
  ],
  registries: [
    registry('one', {
      path: 'team/one',
      upstreams: [
        { name: 'hub', include: ['library/**'], exclude: ['library/secret'], failurePolicy: 'Fail' },
        { name: 'quay', include: [], exclude: [], failurePolicy: 'Ignore' },
        { name: 'gone', include: [], exclude: [], failurePolicy: 'Fail' },
      ],
    }),
    registry('two', { path: 'team', hosts: ['two.example'] }),
    registry('off', { path: 'off', hosts: ['off.example'], serving: 'Disabled' }),
  ],
})
const find = (repository: string, { registry, host }: { registry?: string; host?: string } = {}) => {
  const found = table.find({ registry, repository }, host)
  return [found.registry.route.name, found.repository]
}

describe('a name', () => {
  it('belongs to the registry whose path it begins with', () => {
    expect(find('team/one/alpine')).toEqual(['two', 'one/alpine'])
    expect(find('team/alpine')).toEqual(['two', 'alpine'])
  })

  it('of the form with a registry in front belongs to exactly that one', () => {
    expect(find('library/alpine', { registry: 'team/one' })).toEqual(['one', 'library/alpine'])
    expect(() => find('alpine', { registry: 'team/one/x' })).toThrow(
      expect.objectContaining({ key: 'NAME_UNKNOWN' }),
    )
  })

  it('on a claimed host is all repository, unless it names a registry in front', () => {
    expect(find('team/alpine', { host: 'two.example' })).toEqual(['two', 'team/alpine'])
    expect(find('alpine', { registry: 'team/one', host: 'two.example' })).toEqual(['one', 'alpine'])
    expect(find('team/alpine', { host: 'three.example' })).toEqual(['two', 'alpine'])
  })

  it.each([
    'nothing/alpine',
    'team',
    'teamx/alpine',
    'alpine',
    'off/alpine',
    'constructor/alpine',
    '__proto__/alpine',
  ])('%s is unknown', (name) => {
    expect(() => find(name)).toThrow(expect.objectContaining({ key: 'NAME_UNKNOWN', detail: undefined }))
  })

  it('is unknown on the host of a disabled registry', () => {
    expect(() => find('alpine', { host: 'off.example' })).toThrow(
      expect.objectContaining({ key: 'NAME_UNKNOWN' }),
    )
  })

  it('may be too long: whoever may not know the registry is not told so', () => {
    expect(find(`team/${'a'.repeat(300)}`)).toEqual(['two', 'a'.repeat(300)])
  })
})

describe('eligible upstreams', () => {
  const one = table.registries[0]!
  const names = (repository: string, ns = '') =>
    eligibleUpstreams(one, repository, ns).map(({ upstream, repository }) => `${upstream.name} ${repository}`)

  it('are in order of priority, each with the name as it is sent there', () => {
    expect(names('alpine')).toEqual(['hub library/alpine', 'quay alpine', 'gone alpine'])
  })

  it('are those whose globs let the name through, as it is sent', () => {
    expect(names('secret')).toEqual(['quay secret', 'gone secret'])
    expect(names('other/alpine')).toEqual(['quay other/alpine', 'gone other/alpine'])
  })

  it('are those that answer to ns', () => {
    expect(names('alpine', 'docker.io')).toEqual(['hub library/alpine'])
    expect(names('alpine', 'quay.io')).toEqual(['quay alpine'])
    expect(names('alpine', 'evil.example')).toEqual([])
  })

  it('are of the registry’s own namespace; one that is not there keeps its place and cannot be asked', () => {
    expect(one.upstreams[0]?.upstream.url).toBe('https://hub.example')
    expect(one.upstreams[2]).toMatchObject({ upstream: { problem: expect.any(String), mode: 'CacheOnly' } })
  })
})
