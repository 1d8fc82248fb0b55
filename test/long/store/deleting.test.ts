import { afterAll, describe, expect, it } from 'vitest'
import { openLocalStores } from '../../../proxy/store/local-stores.ts'
import { type DeletingStory, deleteAgainstPulls, tableOfDeleting } from '../../rig/deleting.ts'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { useSharedServers } from '../../rig/shared-servers.ts'
import { writeMeasurement } from '../measurement.ts'

const isShort = process.env.HEADWATER_SHORT === '1'
const rounds = isShort ? 30 : 1_000

const stories = new Map<string, DeletingStory>()
afterAll(() => {
  if (!isShort && stories.size === 2) writeMeasurement('deleting', tableOfDeleting(stories))
})

function expectNothingLost(name: string, story: DeletingStory): void {
  stories.set(name, story)
  expect(story.lost).toEqual([])
  expect(story.left).toEqual([])
  expect(story.failed).toEqual([])
  expect(story.rounds).toBe(rounds)
  expect(story.deleted).toBeGreaterThan(0)
}

describe('deleting against pulls of the same blobs, over files and SQLite', () => {
  it(`loses nothing that is linked in ${rounds} rounds, and leaves nothing that is not`, async () => {
    const story = await deleteAgainstPulls({
      ...{ replicas: 1, rounds, graceMs: 1_000 },
      open: async (folder, observer) => ({
        ...(await openLocalStores({ folder, maxBytes: undefined, observer })),
        leases: undefined,
      }),
    })
    expectNothingLost('files and SQLite, one replica', story)
  })
})

describeWithParts(
  ['redis-server', 'versitygw'],
  'deleting against pulls of the same blobs, over S3 and Redis',
  () => {
    const servers = useSharedServers()

    it(`loses nothing that is linked in ${rounds} rounds, and leaves nothing that is not`, async () => {
      const bucket = await servers.s3.makeBucket()
      const story = await deleteAgainstPulls({
        ...{ replicas: 2, rounds, graceMs: 2_000 },
        open: (folder, observer) => servers.open({ bucket, folder, observer }),
      })
      expectNothingLost('S3 and Redis, two replicas', story)
    })
  },
)
