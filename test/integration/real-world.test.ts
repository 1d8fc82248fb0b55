import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCertificateAuthority } from '../rig/certificates.ts'
import { describeWithParts } from '../rig/describe-with-parts.ts'
import { fault } from '../rig/fake-upstream.ts'
import { type Headwater, startHeadwater } from '../rig/headwater.ts'
import { contentStore } from '../rig/image-store.ts'
import { pushImage, type SampleImage } from '../rig/images.ts'
import { createDouble, type Double, type RealRegistry, realRegistries } from '../rig/real-world.ts'
import { registryResource, upstreamResources } from '../rig/resources.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing.reverse()) await close()
})

const login = { username: 'somebody', password: 'canary-real-world-password' }

interface Through {
  readonly headwater: Headwater
  readonly double: Double
  readonly image: SampleImage
}

/** Headwater over the double of one registry, which has `library/a:one` and `private/a:one`. */
async function through(
  name: RealRegistry,
  { anonymous = false }: { anonymous?: boolean } = {},
): Promise<Through> {
  const isPublic = (repository: string) => repository.startsWith('library/')
  const authority = await createCertificateAuthority()
  const double = await createDouble(name, { login, isPublic, authority })
  closing.push(double.close)
  const store = contentStore(double.registry.content)
  const image = await pushImage(store, 'library/a', { tag: 'one', layers: [100_000, 'empty'] })
  await pushImage(store, 'private/a', { tag: 'one', seed: 2 })
  const spec = { tokenServiceHosts: double.tokenServiceHosts }
  const account = anonymous || name === 'mcr' ? {} : login
  const resources = [
    ...upstreamResources('it', {
      url: double.registry.url,
      ca: authority.ca,
      validitySeconds: 1,
      ...account,
      spec,
    }),
    registryResource('r', ['it']),
  ]
  const headwater = await startHeadwater({ resources })
  closing.push(headwater.stop)
  return { headwater, double, image }
}

const bodyOf = async (response: Response): Promise<number> => (await response.arrayBuffer()).byteLength

describeWithParts(['openssl'], 'a registry that answers as', () => {
  describe.each(realRegistries)('%s', (name) => {
    let there: Through
    beforeAll(async () => {
      there = await through(name)
    })

    it('is pulled through: HEAD, manifest, every blob, each once', async () => {
      const { headwater, double, image } = there
      const manifest = '/v2/default/r/library/a/manifests/one'
      const head = await headwater.get(manifest, { method: 'HEAD' })
      expect([head.status, head.headers.get('docker-content-digest')]).toEqual([200, image.manifest.digest])
      expect(await bodyOf(await headwater.get(manifest))).toBe(image.manifest.size)
      for (const { digest, size } of [...image.layers, image.config]) {
        const blob = await headwater.get(`/v2/default/r/library/a/blobs/${digest}`)
        expect([blob.status, await bodyOf(blob)]).toEqual([200, size])
      }
      const asked = double.cdn.requests().length
      expect(asked).toBeGreaterThan(2)
      await bodyOf(await headwater.get(`/v2/default/r/library/a/blobs/${image.config.digest}`))
      expect(double.cdn.requests()).toHaveLength(asked)
    })

    it('gets no credential where it sends us for bytes, and the password at its token service alone', async () => {
      const { registry, cdn } = there.double
      expect(cdn.requests().filter(({ headers }) => 'authorization' in headers)).toEqual([])
      const basic = registry.requests().filter(({ headers }) => /^basic/i.test(String(headers.authorization)))
      expect(basic.filter(({ path }) => !['/token', '/v2/auth'].includes(path))).toEqual([])
    })

    it('says no to what is not there, and that is a 404', async () => {
      const answer = await there.headwater.get('/v2/default/r/library/nothing/manifests/one')
      expect([answer.status, await answer.json()]).toMatchObject([
        404,
        { errors: [{ code: 'MANIFEST_UNKNOWN' }] },
      ])
    })

    it('is not needed for what is cached', async () => {
      const { headwater, double, image } = there
      await double.registry.stop()
      const later = await headwater.get('/v2/default/r/library/a/manifests/one')
      expect([later.status, await bodyOf(later)]).toEqual([200, image.manifest.size])
    })
  })

  it.each(['docker-hub', 'quay', 'ghcr'] as const)(
    '%s refuses an anonymous pull of what is private',
    async (name) => {
      const { headwater } = await through(name, { anonymous: true })
      expect((await headwater.get('/v2/default/r/library/a/manifests/one')).status).toBe(200)
      expect((await headwater.get('/v2/default/r/private/a/manifests/one')).status).toBe(404)
    },
  )

  it('dhi.io has nothing for who has no login', async () => {
    const { headwater } = await through('dhi.io', { anonymous: true })
    expect((await headwater.get('/v2/default/r/library/a/manifests/one')).status).toBe(404)
  })

  it('U30: a rate limit that is used up hinders nothing that was answered with 200', async () => {
    const { headwater, double, image } = await through('docker-hub')
    const spent = fault.headers({ 'ratelimit-remaining': '0;w=21600' })
    double.registry.always('*', /\/manifests\//, spent)
    for (let round = 0; round < 3; round++) {
      const manifest = await headwater.get('/v2/default/r/library/a/manifests/one')
      expect([manifest.status, await bodyOf(manifest), manifest.headers.get('ratelimit-remaining')]).toEqual([
        ...[200, image.manifest.size, null],
      ])
    }
    const asked = double.registry.requests({ path: '/v2/library/a/manifests/one' })
    expect(asked.filter(({ method, status }) => method === 'GET' && status === 200)).toHaveLength(1)
  })

  it('Quay lists tags in pages of its own, which are followed to their end', async () => {
    const { headwater, double } = await through('quay')
    for (const tag of ['b', 'c', 'd']) double.registry.content.putManifest('library/a', { tag }, { tag })
    const tags: string[] = []
    for (let next: string | undefined = '/v2/default/r/library/a/tags/list?n=2'; next; ) {
      const page: Response = await headwater.get(next)
      expect(page.status).toBe(200)
      tags.push(...((await page.json()) as { tags: string[] }).tags)
      next = /<(.+)>/.exec(page.headers.get('link') ?? '')?.[1]
    }
    expect(tags).toEqual(['b', 'c', 'd', 'one'])
  })
})
