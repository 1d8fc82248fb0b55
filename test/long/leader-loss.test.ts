import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Fleet, startFleet } from '../rig/fleet.ts'
import { loseLeader, losses, startUpstreamOfLayers } from '../rig/leader-loss.ts'
import type { UpstreamProcess } from '../rig/start-upstream-process.ts'

const times = process.env.HEADWATER_SHORT === '1' ? 2 : 20

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

it.each(losses)(`clients of the other replicas get their blob, ${times} times: %s`, async (loss) => {
  for (let round = 0; round < times; round++) {
    const layer = upstream.images[0]!.layers[next++]!
    const story = await loseLeader(fleet, upstream, layer, loss, 200 + Math.random() * 3_500)
    console.info(JSON.stringify(story))
    expect(story.share).toBeLessThan(3)
  }
})
