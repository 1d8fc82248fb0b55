import { afterAll, expect, it } from 'vitest'
import { openContainerd } from '../../rig/clients/containerd.ts'
import { closeAll } from '../../rig/clients/describe-clients.ts'
import type { Sample } from '../../rig/clients/samples.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { createFakeUpstream } from '../../rig/fake-upstream.ts'
import { startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const closing: (() => Promise<unknown>)[] = []
afterAll(() => closeAll(closing))

describeWithParts(['containerd', 'ctr'], 'containerd with a mirror', () => {
  it('gets an image of the host that it is a mirror of, though one of higher priority has the name too', async () => {
    const images: Record<string, SampleImage> = {}
    const resources = []
    for (const [seed, name] of ['docker.io', 'quay.example'].entries()) {
      const upstream = await createFakeUpstream()
      closing.push(upstream.close)
      images[name] = await pushImage(contentStore(upstream.content), 'a/b', { tag: 'one', seed: 200 + seed })
      const spec = { mirrorOf: [name] }
      resources.push(...upstreamResources(`upstream-${seed}`, { url: upstream.url, spec }))
    }
    resources.push(registryResource('both', ['upstream-0', 'upstream-1']))
    const headwater = await startHeadwater({ resources })
    closing.push(headwater.close)

    const place = { host: headwater.host, prefix: 'default/both/' }
    const sample = { repository: 'a/b', tag: 'one', referrers: [], algorithm: 'sha256' } as unknown as Sample
    for (const mirrored of ['quay.example', 'docker.io']) {
      const client = await openContainerd({ mirrored })
      closing.push(client.close)
      const mirrors = client.commands.filter(({ title }) => title.includes('hosts.toml'))
      expect(mirrors).toHaveLength(2)
      for (const { get } of mirrors) {
        const { manifest, config, layers } = images[mirrored]!
        const wanted = [manifest, config, ...layers].map(({ digest }) => digest)
        expect((await get(place, sample)).toSorted()).toEqual(wanted.toSorted())
      }
    }
    // nobody answers to this one: containerd is told so, and goes on to the registry itself
    const client = await openContainerd({ mirrored: 'other.example' })
    closing.push(client.close)
    const [mirror] = client.commands.filter(({ title }) => title.includes('hosts.toml'))
    await expect(mirror?.get(place, sample)).rejects.toThrow(/127\.0\.0\.1:1\b/)
    const asked = '/v2/default/both/a/b/manifests/one?ns='
    expect((await headwater.get(`${asked}other.example`)).status).toBe(404)
    expect((await headwater.get(`${asked}quay.example`)).headers.get('oci-namespace')).toBe('quay.example')
  })
})
