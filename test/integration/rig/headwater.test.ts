import { afterAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { returnsTo, startHeadwater } from '../../rig/headwater.ts'
import { contentStore, registryStore } from '../../rig/image-store.ts'
import { pushImage } from '../../rig/images.ts'
import { needPart } from '../../rig/parts.ts'
import { mustRun } from '../../rig/process.ts'
import { startRegistry } from '../../rig/registry.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'
import { startUpstreamProcess } from '../../rig/start-upstream-process.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const close of closing.reverse()) await close()
})

describeWithParts(['registry', 'crane'], 'Headwater as a process', () => {
  it('gives crane an image of a real registry, once from there and then from its cache', async () => {
    const registry = await startRegistry()
    closing.push(registry.close)
    const image = await pushImage(registryStore(registry), 'library/a', {
      tag: 'one',
      layers: [1000, 3_000_000],
    })
    const resources = [...upstreamResources('hub', { url: registry.url }), registryResource('hub', ['hub'])]
    const headwater = await startHeadwater({ resources })
    closing.push(headwater.stop)
    const name = `${headwater.host}/default/hub/library/a`

    const crane = needPart('crane')
    expect(await mustRun(crane, ['digest', `${name}:one`])).toBe(`${image.manifest.digest}\n`)
    await mustRun(crane, ['validate', '--remote', `${name}:one`])
    const asked = registry.requests('GET')
    await mustRun(crane, ['validate', '--remote', `${name}:one`])
    expect(registry.requests('GET')).toBe(asked)

    expect(await headwater.ready()).toBe(true)
    expect(await headwater.metric('headwater_requests_total')).toBeGreaterThan(3)
    expect(headwater.logged().length).toBeGreaterThan(0)
    expect(await headwater.temporaryFiles()).toEqual([])
    await returnsTo(0, () => headwater.metric('headwater_fills_in_progress'))
    expect(await headwater.stop()).toBe(0)
  })
})

it('takes an upstream with a login, and shows its password nowhere', async () => {
  const auth = { kind: 'token', username: 'puller', password: 'canary-upstream-password' } as const
  const upstream = await createFakeUpstream({ auth })
  closing.push(upstream.close)
  await pushImage(contentStore(upstream.content), 'a', { tag: 'one' })
  const resources = [
    ...upstreamResources('private', { url: upstream.url, ...auth }),
    registryResource('r', ['private']),
  ]
  const headwater = await startHeadwater({ resources, args: ['--log-level', 'debug'] })
  closing.push(headwater.stop)
  expect((await headwater.get('/v2/default/r/a/manifests/one')).status).toBe(200)
  expect((await headwater.get('/v2/default/r/b/manifests/one')).status).toBe(404)
  expect(await headwater.stop()).toBe(0)
})

it('can have its upstream in another process', async () => {
  const layers = [1_000_000]
  const upstream = await startUpstreamProcess({ images: [{ repository: 'a', tag: 'one', layers }] })
  closing.push(upstream.close)
  const { digest, size } = upstream.images[0]!.layers[0]!
  const body = await (await fetch(`${upstream.url}/v2/a/blobs/${digest}`)).arrayBuffer()
  expect(body.byteLength).toBe(size)
  expect((await upstream.sent()).bytesSent).toBeGreaterThan(size)
})
