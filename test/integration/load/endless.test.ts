import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import type { Fault } from '../../rig/fault.ts'
import { type Headwater, startHeadwater } from '../../rig/headwater.ts'
import { contentStore } from '../../rig/image-store.ts'
import { pushImage, type SampleImage } from '../../rig/images.ts'
import { registryResource, upstreamResources } from '../../rig/resources.ts'

const mib = 1024 * 1024
/** What lies in the buffers of two sockets between the limit and its being noticed. */
const inFlight = 12 * mib

let upstream: FakeUpstream
let headwater: Headwater
let image: SampleImage
beforeAll(async () => {
  const auth = { kind: 'token', username: 'puller', password: 'canary-upstream-password' } as const
  upstream = await createFakeUpstream({ auth })
  image = await pushImage(contentStore(upstream.content), 'app', { tag: 'one', layers: [3 * mib] })
  const resources = [
    ...upstreamResources('u', { url: upstream.url, ...auth }),
    registryResource('r', ['u'], { spec: { path: 'default/r' } }),
  ]
  headwater = await startHeadwater({ resources })
})
afterAll(async () => {
  await headwater?.stop()
  await upstream?.close()
})

const manifestType = 'application/vnd.oci.image.manifest.v1+json'

describe('an upstream whose answer has no end', () => {
  it.each<[string, string, string, Fault, number]>([
    ['a manifest', 'manifests/one', '/v2/app/manifests/one', fault.endless(manifestType), 502],
    ['a list of tags', 'tags/list', '/v2/app/tags/list', fault.endless('application/json'), 502],
    ['an error', 'manifests/two', '/v2/app/manifests/two', endlessError(404), 404],
    ['an outage', 'manifests/three', '/v2/app/manifests/three', endlessError(500), 503],
    ['a token', 'manifests/four', '/token', fault.endless('application/json'), 502],
  ])('is cut at its limit: %s', async (_name, path, faulty, endless, status) => {
    upstream.revokeTokens()
    upstream.always('*', faulty, endless)
    const before = upstream.bytesSent()
    const answer = await headwater.get(`/v2/default/r/app/${path}`)
    expect(answer.status).toBe(status)
    expect(await answer.text()).toContain('"errors"')
    await closedTo(upstream)
    expect(upstream.bytesSent() - before).toBeLessThan(4 * mib + inFlight)
    await upstream.heal()
  })

  it('is cut at the size its manifest says: a blob', async () => {
    expect((await headwater.get('/v2/default/r/app/manifests/one')).status).toBe(200)
    const [layer] = image.layers
    const path = `/v2/app/blobs/${layer!.digest}`
    upstream.always('GET', path, fault.endless('application/octet-stream'))
    const before = upstream.bytesSent()
    const answer = await headwater.get(`/v2/default/r/app/blobs/${layer!.digest}`)
    await expect(answer.arrayBuffer()).rejects.toThrow()
    await closedTo(upstream)
    expect(upstream.bytesSent() - before).toBeLessThan(layer!.size + inFlight)
    await upstream.heal()
    expect(await headwater.temporaryFiles()).toEqual([])
  })
})

function endlessError(status: number): Fault {
  return fault.all(fault.endless('application/json'), (reply) => {
    reply.status = status
  })
}

/** Nothing is being sent any more. */
async function closedTo({ bytesSent }: FakeUpstream): Promise<void> {
  for (let before = -1, attempt = 0; before !== bytesSent() && attempt < 50; attempt++) {
    before = bytesSent()
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}
