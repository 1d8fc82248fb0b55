import { expect, it } from 'vitest'
import { OciError, type OciErrorKey } from '../../../proxy/oci/errors.ts'

it.each<[OciErrorKey, number, string]>([
  ['BLOB_UNKNOWN', 404, 'BLOB_UNKNOWN'],
  ['CATALOG_UNSUPPORTED', 404, 'UNSUPPORTED'],
  ['INTERNAL', 500, 'UNKNOWN'],
  ['TOOMANYREQUESTS', 429, 'TOOMANYREQUESTS'],
  ['UNSUPPORTED', 405, 'UNSUPPORTED'],
  ['UPSTREAM_INVALID', 502, 'UNKNOWN'],
])('%s is %i %s', (key, status, code) => {
  expect(new OciError(key)).toMatchObject({ key, status, code })
})

it('says to the client its code, its message and its detail, and nothing of its cause', () => {
  const error = new OciError('MANIFEST_UNKNOWN', { detail: { tag: '<x>' }, cause: new Error('secret') })
  expect(JSON.parse(error.toBody())).toEqual({
    errors: [{ code: 'MANIFEST_UNKNOWN', message: 'manifest unknown to registry', detail: { tag: '<x>' } }],
  })
  expect(JSON.parse(new OciError('DENIED').toBody()).errors[0]).not.toHaveProperty('detail')
})
