import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type Fleet, startFleet } from '../../rig/fleet.ts'
import { loseLeader, losses, startUpstreamOfLayers } from '../../rig/leader-loss.ts'
import type { UpstreamProcess } from '../../rig/start-upstream-process.ts'

const times = 3

describeWithParts(['redis-server', 'versitygw'], 'clients of the other replicas get their blob', () => {
  let upstream: UpstreamProcess
  let fleet: Fleet
  let next = 0

  beforeAll(async () => {
    upstream = await startUpstreamOfLayers(losses.length * times)
    fleet = await startFleet({ size: 3, upstream: upstream.url })
  })
  afterAll(async () => {
    await fleet?.close()
    await upstream?.close()
  })

  it.each(losses)('when the leader is lost: %s', async (loss) => {
    for (let round = 0; round < times; round++) {
      const layer = upstream.images[0]!.layers[next++]!
      const story = await loseLeader(fleet, upstream, layer, loss, 300 + Math.random() * 3_000)
      console.info(JSON.stringify(story))
      expect(story.share).toBeLessThan(3)
    }
  })
})
