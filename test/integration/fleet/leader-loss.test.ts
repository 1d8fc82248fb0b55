import { expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { loseLeaders, losses, mostSent } from '../../rig/leader-loss.ts'

describeWithParts(['redis-server', 'versitygw'], 'clients of the other replicas get their blob', () => {
  // a machine that is busy with all else may be too slow for the limits of time of Redis
  it.each(losses)('when the leader is lost: %s', { retry: 2 }, async (loss) => {
    const stories = await loseLeaders(loss, 3)
    console.info(stories.map((story) => JSON.stringify(story)).join('\n'))
    expect(Math.max(...stories.map(({ share }) => share))).toBeLessThan(mostSent[loss])
  })
})
