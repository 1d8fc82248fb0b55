import { expect, it } from 'vitest'
import { algorithmOf, digestOf, hasherFor, hexOf, isDigest, parseDigest } from '../../../proxy/oci/digest.ts'

const sha256 = 'sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824'

it('names bytes by the digest of the specification', () => {
  expect(digestOf(Buffer.from('hello'))).toBe(sha256)
  const sha512 = digestOf(Buffer.from('hello'), 'sha512')
  expect(sha512).toMatch(/^sha512:9b71d224bd62f378[a-f0-9]{112}$/)
  expect(hasherFor(sha512).update('hello').digest('hex')).toBe(hexOf(sha512))
  expect([algorithmOf(sha512), algorithmOf(parseDigest(sha256))]).toEqual(['sha512', 'sha256'])
})

it.each([
  '',
  'latest',
  'sha256:',
  'sha256:beef',
  sha256.slice(0, -1),
  `${sha256}0`,
  `${sha256}\n`,
  sha256.toUpperCase(),
  sha256.replace('sha256', 'SHA256'),
  sha256.replace('sha256', 'sha512'),
  sha256.replace(':', '-'),
  'md5:d41d8cd98f00b204e9800998ecf8427e',
  'sha256:../../../../../../../../../../../../../../../../../etc/passwd0000',
])('takes %j for no digest', (text) => {
  expect(isDigest(text)).toBe(false)
  expect(() => parseDigest(text)).toThrow(expect.objectContaining({ key: 'DIGEST_INVALID', status: 400 }))
})

it('takes nothing but text for a digest', () => {
  for (const value of [undefined, null, 5, [sha256], { toString: () => sha256 }])
    expect(isDigest(value)).toBe(false)
})
