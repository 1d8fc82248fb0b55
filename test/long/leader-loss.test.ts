import { expect, it } from 'vitest'
import { loseLeaders, losses, mostSent } from '../rig/leader-loss.ts'

// What an upstream sends is not yet within issue 4's bound for every loss: until it is, this is for its makers to run.
const isShort = process.env.HEADWATER_SHORT === '1'
const times = 20

it.skipIf(isShort).each(losses)(
  `clients of the other replicas get their blob, ${times} times: %s`,
  async (loss) => {
    const stories = await loseLeaders(loss, times)
    console.info(stories.map((story) => JSON.stringify(story)).join('\n'))
    expect(Math.max(...stories.map(({ share }) => share))).toBeLessThan(mostSent[loss])
  },
)
