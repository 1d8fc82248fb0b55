import { expect, it } from 'vitest'
import type { Story } from '../../../proxy/pull/pull.ts'
import { coldWalkMs, walk } from '../../../proxy/pull/walk.ts'
import type { Eligible } from '../../../proxy/route-table.ts'
import { upstream } from '../http/fixtures.ts'

const places: Eligible[] = ['a', 'b', 'c'].map((name) => ({
  upstream: upstream(name),
  repository: 'app',
  failurePolicy: 'Fail',
}))

it.each(['tag', 'digest'] as const)(
  'is no proof that something is unknown when time ran out before all were asked (by %s)',
  async (by) => {
    let clock = 0
    const slowNo = async () => {
      clock += coldWalkMs / 2
      return { no: 404 }
    }
    const story: Story = { trail: [] }
    const options = { by, unknown: 'MANIFEST_UNKNOWN', story, now: () => clock } as const
    await expect(walk(places, slowNo, options)).rejects.toMatchObject({ key: 'UNAVAILABLE' })
  },
)

it('is unknown when every one says no', async () => {
  const story: Story = { trail: [] }
  const options = { by: 'tag', unknown: 'MANIFEST_UNKNOWN', story, now: () => 0 } as const
  await expect(walk(places, async () => ({ no: 404 }), options)).rejects.toMatchObject({
    key: 'MANIFEST_UNKNOWN',
  })
})
