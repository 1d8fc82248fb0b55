import { describe, expect, it } from 'vitest'
import { hostOf, namespaceOf, parseTarget } from '../../../proxy/http/target.ts'

it.each([
  ['/v2/a?b=c', 'x:5000', { path: '/v2/a', query: 'b=c', host: 'x' }],
  ['/v2/a', undefined, { path: '/v2/a', query: '', host: undefined }],
  ['/v2/a?b?c', 'X', { path: '/v2/a', query: 'b?c', host: 'x' }],
  ['http://Evil:80/v2/a?b', 'x', { path: '/v2/a', query: 'b', host: 'evil' }],
  ['HTTPS://evil', 'x', { path: '/', query: '', host: 'evil' }],
  ['http://evil?a', 'x', { path: '/', query: 'a', host: 'evil' }],
  ['*', 'x', { path: '/*', query: '', host: 'x' }],
  ['/http://evil/v2/', 'x', { path: '/http://evil/v2/', query: '', host: 'x' }],
])('takes %s with Host %s apart', (raw, host, expected) => {
  if (raw === '*') expect(parseTarget(raw, host).path).toBe('*')
  else expect(parseTarget(raw, host)).toEqual(expected)
})

it.each(['/v2/#', '/v2/a?b#c', 'http://x/#'])('refuses the fragment of %s', (raw) => {
  expect(() => parseTarget(raw, 'x')).toThrow(expect.objectContaining({ key: 'NAME_INVALID' }))
})

it.each([
  ['Registry.Example:5000', 'registry.example'],
  ['[::1]:5000', '[::1]'],
  ['[::1]', '[::1]'],
  ['127.0.0.1', '127.0.0.1'],
  ['', undefined],
  [undefined, undefined],
])('reads the host of %s', (authority, host) => {
  expect(hostOf(authority)).toBe(host)
})

describe('ns', () => {
  it.each([
    ['', ''],
    ['ns=', ''],
    ['ns=Docker.IO', 'docker.io'],
    ['ns=localhost:5000&ns=other', 'localhost:5000'],
    ['x=ns', ''],
  ])('is read from %j', (query, ns) => {
    expect(namespaceOf(new URLSearchParams(query))).toBe(ns)
  })

  it.each(['a/b', 'a b', '%0d%0a', '%00', 'http://x', 'é', 'a'.repeat(256)])(
    '%s is no host, so nobody’s name',
    (ns) => {
      expect(() => namespaceOf(new URLSearchParams(`ns=${ns}`))).toThrow(
        expect.objectContaining({ key: 'NAME_UNKNOWN' }),
      )
    },
  )
})
