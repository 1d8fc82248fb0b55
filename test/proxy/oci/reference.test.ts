import { expect, it } from 'vitest'
import {
  formatReference,
  isName,
  isTag,
  parseEndpoint,
  parseReference,
} from '../../../proxy/oci/reference.ts'

const digest = `sha256:${'a'.repeat(64)}`
const long = `sha512:${'b'.repeat(128)}`
const named = (repository: string, registry?: string) => ({ registry, repository })

it.each([
  ['/v2', { kind: 'version' }],
  ['/v2/', { kind: 'version' }],
  ['/team/hub/v2', { kind: 'version' }],
  ['/team/hub/v2/', { kind: 'version' }],
  ['/v2/alpine/manifests/3.20', { kind: 'manifest', name: named('alpine'), reference: { tag: '3.20' } }],
  [
    '/v2/hub/library/alpine/manifests/3.20',
    { kind: 'manifest', name: named('hub/library/alpine'), reference: { tag: '3.20' } },
  ],
  [`/v2/a/b/c/manifests/${digest}`, { kind: 'manifest', name: named('a/b/c'), reference: { digest } }],
  [`/v2/a/blobs/${long}`, { kind: 'blob', name: named('a'), digest: long }],
  ['/v2/alpine/tags/list', { kind: 'tags', name: named('alpine') }],
  [`/v2/alpine/referrers/${digest}`, { kind: 'referrers', name: named('alpine'), subject: digest }],
  // the form of a mirror whose URL is not to be overridden
  [
    '/team/hub/v2/library/alpine/manifests/x',
    { kind: 'manifest', name: named('library/alpine', 'team/hub'), reference: { tag: 'x' } },
  ],
  // a repository may itself be called after an endpoint, and a tag after the API
  ['/v2/blobs/manifests/latest', { kind: 'manifest', name: named('blobs'), reference: { tag: 'latest' } }],
  [
    '/v2/manifests/manifests/manifests',
    { kind: 'manifest', name: named('manifests'), reference: { tag: 'manifests' } },
  ],
  ['/v2/a/tags/list/tags/list', { kind: 'tags', name: named('a/tags/list') }],
  ['/v2/v2/manifests/v2', { kind: 'manifest', name: named('v2'), reference: { tag: 'v2' } }],
])('reads %s', (path, endpoint) => {
  expect(parseEndpoint(path)).toEqual(endpoint)
})

it.each([
  ['', 'NAME_INVALID'],
  ['*', 'NAME_INVALID'],
  ['v2/alpine/manifests/x', 'NAME_INVALID'],
  ['/', 'PATH_UNKNOWN'],
  ['/v1/', 'PATH_UNKNOWN'],
  ['/V2/', 'PATH_UNKNOWN'],
  ['/favicon.ico', 'PATH_UNKNOWN'],
  ['/v2/alpine', 'PATH_UNKNOWN'],
  ['/v2/alpine/tags/other', 'PATH_UNKNOWN'],
  ['/v2/a/v2/', 'PATH_UNKNOWN'],
  ['/A/v2/', 'PATH_UNKNOWN'],
  ['/v2/_catalog', 'CATALOG_UNSUPPORTED'],
  ['//v2/alpine/manifests/x', 'NAME_UNKNOWN'],
  ['/v2/manifests/latest', 'NAME_UNKNOWN'],
  ['/v2/alpine/manifests/a/b', 'NAME_UNKNOWN'],
  ['/v2//alpine/manifests/x', 'NAME_INVALID'],
  ['/v2/Alpine/manifests/x', 'NAME_INVALID'],
  ['/v2/a/../b/manifests/x', 'NAME_INVALID'],
  ['/v2/a%2fb/manifests/x', 'NAME_INVALID'],
  ['/v2/a+b/manifests/x', 'NAME_INVALID'],
  ['/Team/v2/alpine/manifests/x', 'NAME_INVALID'],
  ['/a//b/v2/alpine/manifests/x', 'NAME_INVALID'],
  [`/v2/${'a'.repeat(700)}/manifests/x`, 'NAME_INVALID'],
  ['/v2/alpine/manifests/', 'MANIFEST_UNKNOWN'],
  ['/v2/alpine/manifests/-x', 'MANIFEST_UNKNOWN'],
  ['/v2/alpine/manifests/sha256=x', 'MANIFEST_UNKNOWN'],
  [`/v2/alpine/manifests/${'a'.repeat(129)}`, 'MANIFEST_UNKNOWN'],
  ['/v2/alpine/blobs/latest', 'DIGEST_INVALID'],
  ['/v2/alpine/blobs/sha256:beef', 'DIGEST_INVALID'],
  ['/v2/alpine/blobs/sha256:../../etc/passwd', 'DIGEST_INVALID'],
  ['/v2/alpine/manifests/foo+bar.b:abcd', 'DIGEST_INVALID'],
  ['/v2/alpine/referrers/latest', 'DIGEST_INVALID'],
])('refuses %s with %s', (path, key) => {
  expect(() => parseEndpoint(path)).toThrow(expect.objectContaining({ name: 'OciError', key }))
})

it.each([
  ['latest', true],
  ['_x', true],
  ['V1.2-rc_3', true],
  ['a'.repeat(128), true],
  ['a'.repeat(129), false],
  ['', false],
  ['.x', false],
  ['-x', false],
  ['a:b', false],
  ['a/b', false],
  ['a\n', false],
])('knows whether %j is a tag: %s', (text, expected) => {
  expect(isTag(text)).toBe(expected)
})

it.each([
  ['a', true],
  ['a/b-c/d__e/f.g', true],
  ['a---b', true],
  ['a'.repeat(255), true],
  ['a'.repeat(256), false],
  ['', false],
  ['/a', false],
  ['a/', false],
  ['a//b', false],
  ['a_-b', false],
  ['a___b', false],
  ['A', false],
  ['a\n', false],
])('knows whether %j is a name: %s', (text, expected) => {
  expect(isName(text)).toBe(expected)
})

it('writes a reference as it was read', () => {
  for (const text of ['latest', digest, long]) expect(formatReference(parseReference(text))).toBe(text)
})

it('takes no time over names made to take long', () => {
  const startedAt = performance.now()
  for (const text of ['a-', 'a_', 'a.', 'aa', 'a/', '--']) {
    isName(`${text.repeat(127)}!`)
    expect(() => parseEndpoint(`/v2/${text.repeat(300)}!/manifests/x`)).toThrow()
    expect(() => parseEndpoint(`/v2/${text.repeat(200)}/x`)).toThrow()
  }
  expect(performance.now() - startedAt).toBeLessThan(50)
})
