import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { contentStore, registryStore } from '../../rig/image-store.ts'
import { pushArtifact, pushImage, pushIndex } from '../../rig/images.ts'
import { needPart } from '../../rig/parts.ts'
import { mustRun, run } from '../../rig/process.ts'
import { type Registry, startRegistry } from '../../rig/registry.ts'

const closing: (() => Promise<void>)[] = []
afterAll(async () => {
  await Promise.all(closing.map((close) => close()))
})

describeWithParts(['registry', 'docker-registry', 'crane', 'htpasswd', 'openssl'], 'a real registry', () => {
  const versions = ['v3', 'v2'] as const
  const auths = ['none', 'basic', 'token'] as const
  const table = versions.flatMap((version) =>
    auths.flatMap((auth) => [false, true].map((tls) => ({ version, auth, tls }))),
  )

  it.each(table)('$version with auth $auth and TLS $tls takes and gives images', async (options) => {
    const registry = await startRegistry(options)
    closing.push(registry.close)
    const store = registryStore(registry)
    const image = await pushImage(store, 'a/b', { tag: 'one', layers: [1000, 2_000_000] })
    await pushImage(store, 'a/b', { tag: 'empty', layers: ['empty'] })
    const index = await pushIndex(store, 'a/b', { tag: 'many', kind: 'docker' })
    await pushArtifact(store, 'a/b', { tag: 'signed', byTagSchema: true })

    const crane = await craneFor(registry)
    expect(await crane('digest', `${registry.host}/a/b:one`)).toBe(`${image.manifest.digest}\n`)
    expect(await crane('digest', `${registry.host}/a/b:many`)).toBe(`${index.index.digest}\n`)
    await crane('validate', '--remote', `${registry.host}/a/b:one`)
    expect((await crane('ls', `${registry.host}/a/b`)).split('\n')).toContain('signed')
    expect(registry.requests('HEAD', '/v2/a/b/manifests/one')).toBeGreaterThan(0)

    if (options.auth !== 'none') {
      const refused = await run(needPart('crane'), ['--insecure', 'digest', `${registry.host}/a/b:one`])
      expect(refused.code).not.toBe(0)
    }
  })

  it('keeps its port and its images when it is stopped and started', async () => {
    const registry = await startRegistry()
    closing.push(registry.close)
    await pushImage(registryStore(registry), 'a', { tag: 'one' })
    await registry.stop()
    await expect(fetch(`${registry.url}/v2/`)).rejects.toThrow()
    await registry.start()
    expect((await fetch(`${registry.url}/v2/a/tags/list`)).status).toBe(200)
  })
})

describeWithParts(['crane'], 'the fake upstream', () => {
  it('gives crane an image whose layers are whole', async () => {
    const upstream = await createFakeUpstream()
    closing.push(upstream.close)
    await pushImage(contentStore(upstream.content), 'a/b', { tag: 'one', layers: [1000, 3_000_000] })
    await mustRun(needPart('crane'), ['validate', '--remote', `${upstream.host}/a/b:one`])
  })
})

/** crane with the registry's authority and, where it wants one, its login. */
async function craneFor(registry: Registry): Promise<(...args: string[]) => Promise<string>> {
  const crane = needPart('crane')
  const env = {
    DOCKER_CONFIG: await mkdtemp(join(tmpdir(), 'headwater-crane-')),
    SSL_CERT_FILE: registry.authority?.caFile,
  }
  const { username, password, host } = registry
  if (username !== undefined) {
    await mustRun(crane, ['auth', 'login', '-u', username, '-p', String(password), host], { env })
  }
  return (...args) => mustRun(crane, args, { env })
}
