import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { ask } from '../../rig/asking.ts'
import { type CertificateAuthority, createCertificateAuthority } from '../../rig/certificates.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { expectOwnSecrets, expectScrubbed } from '../../rig/invariants.ts'
import { createDouble, type Double, type RealRegistry, realRegistries } from '../../rig/real-world.ts'
import type { Resource } from '../../rig/resources.ts'

/** The example configuration as it is committed, its five registries played by their doubles. */
const doubleOf: Readonly<Record<string, RealRegistry>> = {
  'docker-hub': 'docker-hub',
  ...{ dhi: 'dhi.io', quay: 'quay', mcr: 'mcr', ghcr: 'ghcr' },
}
const login = { username: 'puller', password: 'canary-dhi-login' }
const doubles = new Map<RealRegistry, Double>()
const images = new Map<RealRegistry, SampleImage>()
let headwater: Headwater

describeWithParts(['openssl'], 'the example configuration', () => {
  beforeAll(async () => {
    const authority = await createCertificateAuthority()
    for (const [number, name] of realRegistries.entries()) {
      const double = await createDouble(name, { authority, ...(name === 'dhi.io' && { login }) })
      doubles.set(name, double)
      const repository = repositoryOf(name)
      images.set(
        name,
        await pushImage(contentStore(double.registry.content), repository, { tag: 'v1', seed: number }),
      )
    }
    headwater = await startHeadwater({
      resources: [...(await exampleResources()), loginSecret(), authorityMap(authority)],
    })
  })

  afterAll(async () => {
    await headwater?.close()
    for (const double of doubles.values()) await double.close()
  })

  describe.each(realRegistries)('an image of %s through the example configuration', (name) => {
    const paths = () => {
      const { manifest, config, layers } = images.get(name)!
      const all = [
        'manifests/v1',
        `manifests/${manifest.digest}`,
        ...[config, ...layers].map(({ digest }) => `blobs/${digest}`),
      ]
      return all.map((path) => `/v2/hub/${repositoryOf(name)}/${path}`)
    }

    it('comes by GET as every client pulls it, and by HEAD and digest as containerd does', async () => {
      const [tag = ''] = paths()
      const looked = await ask(headwater, tag, { method: 'HEAD' })
      expect(looked).toMatchObject({ status: 200 })
      expect(looked.headers['docker-content-digest']).toBe(images.get(name)!.manifest.digest)
      for (const path of paths())
        expect(await ask(headwater, path)).toMatchObject({ status: 200, cut: false })
    })

    it('serves on from the cache while it is stopped, and has each secret where it belongs', async () => {
      const { registry, cdn, tokens } = doubles.get(name)!
      await registry.stop()
      for (const path of paths()) expect((await ask(headwater, path)).status).toBe(200)
      await registry.heal()
      expectOwnSecrets([
        { upstream: registry },
        { upstream: cdn },
        ...(tokens ? [{ upstream: tokens, alsoOf: [registry] }] : []),
      ])
      expect(cdn.requests().filter(({ headers }) => headers.authorization !== undefined)).toEqual([])
    })

    it('lists its tags, and says of what it does not have that it is unknown', async () => {
      const repository = `/v2/hub/${repositoryOf(name)}`
      const list = await ask(headwater, `${repository}/tags/list`)
      expect(JSON.parse(list.body.toString())).toEqual({ name: `hub/${repositoryOf(name)}`, tags: ['v1'] })
      expect(await ask(headwater, `${repository}/manifests/missing`)).toMatchObject({
        status: 404,
        code: 'MANIFEST_UNKNOWN',
      })
      expect((await ask(headwater, '/v2/hub/nobody/has-it/manifests/v1')).status).toBe(404)
    })
  })

  it('all that was stored is what it says', async () => {
    await expectScrubbed(headwater.data)
  })
})

function repositoryOf(name: RealRegistry): string {
  return `of-${name.replace('.', '-')}/app`
}

/** Only addresses are changed, and an account for the one that serves nobody without. */
async function exampleResources(): Promise<Resource[]> {
  const text = await readFile('examples/standalone.yaml', 'utf8')
  const objects = parseAllDocuments(text).flatMap((document) =>
    document.contents ? [document.toJS() as Resource] : [],
  )
  return objects.map((object) => {
    const { name } = object.metadata as { name: string }
    if (object.kind !== 'Upstream') return object
    const { registry, tokenServiceHosts } = doubles.get(doubleOf[name]!)!
    const spec = {
      ...(object.spec as Resource),
      url: registry.url,
      tls: { caCertificateRef: { kind: 'ConfigMap', name: 'test-ca', key: 'ca.crt' } },
      ...(tokenServiceHosts.length > 0 && { tokenServiceHosts }),
      ...(name === 'dhi' && { credentialsSecretRef: { name: 'dhi' } }),
    }
    return { ...object, spec }
  })
}

function authorityMap({ ca }: CertificateAuthority): Resource {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'test-ca' }, data: { 'ca.crt': ca } }
}

function loginSecret(): Resource {
  const annotations = { 'headwater.dev/registry-host': doubles.get('dhi.io')!.registry.host }
  return {
    ...{ apiVersion: 'v1', kind: 'Secret', type: 'kubernetes.io/basic-auth' },
    metadata: { name: 'dhi', annotations },
    stringData: login,
  }
}
