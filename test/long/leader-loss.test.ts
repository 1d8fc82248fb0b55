import { expect, it } from 'vitest'
import { loseLeaders, losses, mostSent } from '../rig/leader-loss.ts'

const times = process.env.HEADWATER_SHORT === '1' ? 2 : 20

it.each(losses)(`clients of the other replicas get their blob, ${times} times: %s`, async (loss) => {
  const stories = await loseLeaders(loss, times)
  console.info(stories.map((story) => JSON.stringify(story)).join('\n'))
  expect(Math.max(...stories.map(({ share }) => share))).toBeLessThan(mostSent[loss])
})
