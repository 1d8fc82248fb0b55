import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { pullFrom } from '../../rig/fleet-clients.ts'
import { startUpstreamProcess, type UpstreamProcess } from '../../rig/start-upstream-process.ts'

/** Takes four seconds at this pace: a lease is renewed, and lost, several times meanwhile. */
const layerBytes = 32 * 1024 ** 2
const bytesPerSecond = 8_000_000

describeWithParts(['redis-server', 'versitygw'], 'replicas that refuse each other', () => {
  let upstream: UpstreamProcess
  let fleet: Fleet

  beforeAll(async () => {
    const images = [{ repository: 'foo', tag: 'bar', layers: [layerBytes] }]
    upstream = await startUpstreamProcess({ latencyMs: 30, bytesPerSecond, images })
    fleet = await startFleet({ size: 2, upstream: upstream.url })
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })

  it('ask the upstream once each, and say why', async () => {
    const { digest } = upstream.images[0]!.layers[0]!
    for (const { ways } of fleet.replicas) await ways.internal.set({ kind: 'reset' })
    const path = `/v2/default/hub/foo/blobs/${digest}`
    const pulls = await Promise.all(
      fleet.hosts.flatMap((host) => [pullFrom(host, path), pullFrom(host, path)]),
    )
    expect(pulls.filter((pull) => pull.error !== undefined || pull.digest !== digest)).toEqual([])

    const { requests } = await upstream.sent()
    const gets = requests.filter((asked) => asked.method === 'GET' && asked.path.includes(digest))
    expect(gets.length).toBeLessThanOrEqual(3)
    await expect.poll(async () => (await fleet.blobObjects(digest)).length, { timeout: 15_000 }).toBe(1)
    expect(fleet.replicas.flatMap(({ headwater }) => headwater.logged())).toContainEqual(
      expect.objectContaining({ step: 'goes-apart', msg: expect.stringContaining('--internal-url') }),
    )
  })
})
