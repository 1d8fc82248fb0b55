import fc from 'fast-check'
import { expect, it } from 'vitest'
import { hostsAlike, isLoopback, parseAddress, parseHostKey } from '../../../operator/upstream/address.ts'

it.each([
  ['https://registry-1.docker.io', 'https://registry-1.docker.io', 'registry-1.docker.io'],
  ['HTTPS://Quay.IO/', 'https://quay.io', 'quay.io'],
  ['https://quay.io:443/v2/', 'https://quay.io', 'quay.io'],
  ['https://quay.io/v2', 'https://quay.io', 'quay.io'],
  ['http://quay.io:80', 'http://quay.io', 'quay.io'],
  ['http://quay.io:443', 'http://quay.io:443', 'quay.io:443'],
  ['https://quay.io:8443/', 'https://quay.io:8443', 'quay.io:8443'],
  ['https://a.b/Artifactory/api/docker/hub/', 'https://a.b/Artifactory/api/docker/hub', 'a.b'],
  ['https://a.b/repo/v2', 'https://a.b/repo', 'a.b'],
  ['https://a.b/v22', 'https://a.b/v22', 'a.b'],
  ['http://[0:0:0:0:0:0:0:1]:5000', 'http://[::1]:5000', '[::1]:5000'],
  ['http://2130706433', 'http://127.0.0.1', '127.0.0.1'],
])('normalises %s to %s', (text, url, host) => {
  expect(parseAddress(text)).toMatchObject({ url, host })
})

it.each(['https://1.2.3.4.5', 'https://999.1.1.1', 'https://[:::]'])('says that %s is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

it('gives the same address again for what it gave', () => {
  const host = fc.constantFrom('A.example', 'quay.io', '127.0.0.1', '[::1]', 'x')
  const port = fc.constantFrom('', ':80', ':443', ':5000')
  const path = fc.constantFrom('', '/', '/v2', '/v2/', '/a/B', '/a/v2/', '/a/')
  const scheme = fc.constantFrom('http://', 'https://', 'HttpS://')
  fc.assert(
    fc.property(fc.tuple(scheme, host, port, path), (parts) => {
      const once = parseAddress(parts.join(''))!
      expect(parseAddress(once.url)).toEqual(once)
    }),
  )
})

it.each([
  ['http://127.0.0.1:5000', true],
  ['http://127.8.9.10', true],
  ['http://0x7f.1', true],
  ['http://[::1]', true],
  ['http://LOCALHOST:1', true],
  ['http://registry.localhost', false],
  ['http://127.0.0.1.example.com', false],
  ['http://localhost.example.com', false],
  ['http://10.0.0.1', false],
  ['http://[::ffff:127.0.0.1]', false],
])('knows whether %s is loopback: %s', (text, expected) => {
  expect(isLoopback(parseAddress(text)!)).toBe(expected)
})

it.each([
  ['quay.io', { host: 'quay.io', hasPath: false }],
  ['QUAY.io:443', { host: 'quay.io', hasPath: false }],
  ['http://quay.io', { host: 'quay.io', hasPath: false }],
  ['https://quay.io/v2/', { host: 'quay.io', hasPath: false }],
  ['https://index.docker.io/v1/', { host: 'index.docker.io', hasPath: false }],
  ['quay.io/team', { host: 'quay.io', hasPath: true }],
  ['quay.io:5000', { host: 'quay.io:5000', hasPath: false }],
  ['quay.io:80', { host: 'quay.io:80', hasPath: false }],
])('reads the key %s', (key, expected) => {
  expect(parseHostKey(key, 'https')).toMatchObject(expected)
})

it.each([
  '',
  '*.example.com',
  'me@quay.io',
  'quay.io@evil.example',
  'quay.io\\@evil.example',
  'quay.io?x',
  'a b',
  'https://',
  '/quay.io',
])('reads no host in the key %j', (key) => {
  expect(parseHostKey(key, 'https')).toBeUndefined()
})

it('knows Docker Hub by three names', () => {
  for (const name of ['docker.io', 'index.docker.io', 'registry-1.docker.io']) {
    expect(hostsAlike(name)).toEqual(['docker.io', 'index.docker.io', 'registry-1.docker.io'])
  }
  expect(hostsAlike('hub.docker.com')).toEqual(['hub.docker.com'])
})
