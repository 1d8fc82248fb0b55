import { describe, expect, it } from 'vitest'
import { essenceOf, isInvalid, isManifestType, readManifest } from '../../../proxy/oci/manifest.ts'

const image = 'application/vnd.oci.image.manifest.v1+json'
const index = 'application/vnd.oci.image.index.v1+json'
const digest = (character: string) => `sha256:${character.repeat(64)}` as const
const descriptor = (character: string, size = 10) => ({ digest: digest(character), size, mediaType: 'x/y' })
const read = (document: unknown, contentType: string = image) =>
  readManifest(document instanceof Buffer ? document : Buffer.from(JSON.stringify(document)), contentType)

describe('a manifest', () => {
  it('lists its config and layers, and names its subject', () => {
    const content = read({
      config: descriptor('a'),
      layers: [descriptor('b'), descriptor('c')],
      subject: descriptor('d'),
    })
    expect(content).toMatchObject({
      children: [{ digest: digest('a'), kind: 'blob' }, { digest: digest('b') }, { digest: digest('c') }],
      subject: digest('d'),
    })
  })

  it('lists manifests when it is an index, blobs when it is an artifact', () => {
    expect(read({ manifests: [descriptor('a')] }, index)).toMatchObject({ children: [{ kind: 'manifest' }] })
    expect(read({ blobs: [descriptor('a')] }, 'application/vnd.oci.artifact.manifest.v1+json')).toMatchObject(
      {
        children: [{ kind: 'blob' }],
      },
    )
  })

  it.each([
    ['nothing', Buffer.from(''), image],
    ['a web page', Buffer.from('<html>'), image],
    ['a list', [], image],
    ['null', null, image],
    ['bytes that are no text', Buffer.from([0xff, 0xfe]), image],
    ['a type of its own that is another', { mediaType: index }, image],
    ['an image and an index at once', { layers: [], manifests: [] }, image],
    ['an index with a config', { config: descriptor('a'), manifests: [] }, index],
    ['no type', {}, ''],
    ['a type that every object has', {}, '__proto__'],
    ['the type of a web page', {}, 'text/html'],
    ['schema 1', {}, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
  ])('is refused when it is %s', (_name, document, contentType) => {
    expect(isInvalid(read(document, contentType))).toBe(true)
  })

  it.each([
    ['a digest that leads elsewhere', { digest: 'sha256:../../etc/passwd', size: 1 }],
    ['a negative size', { digest: digest('a'), size: -1 }],
    ['a size that is text', { digest: digest('a'), size: '1' }],
    ['a size beyond numbers', { digest: digest('a'), size: 1e300 }],
    ['nothing', null],
  ])('leaves out of its list what has %s', (_name, layer) => {
    expect(read({ layers: [layer] })).toMatchObject({ children: [] })
  })

  it.each([{ layers: 'x' }, { layers: {} }, { config: 'x' }, { subject: 'x' }, { subject: null }])(
    'bears %j',
    (document) => {
      expect(isInvalid(read(document))).toBe(false)
    },
  )
})

it('is known by its type, whatever parameters and letters that has', () => {
  expect(essenceOf('Application/Vnd.OCI.image.manifest.v1+json; charset=utf-8')).toBe(image)
  expect(isManifestType(`${index};q=1`)).toBe(true)
  expect(isManifestType('__proto__')).toBe(false)
})
