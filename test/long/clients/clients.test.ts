import { describe, expect, it } from 'vitest'
import { describeClients } from '../../rig/clients/describe-clients.ts'
import { committedCells } from '../../rig/clients/page.ts'
import { largeLayerBytes } from '../../rig/clients/samples.ts'

/** In CI an eighth: clients keep several copies of a layer at once, and a machine there may have little room for them. */
const largeBytes = process.env.HEADWATER_SHORT === '1' ? largeLayerBytes / 8 : largeLayerBytes

/** The cell of the table that takes long; the others are the integration tier's. */
describe('a large layer, through Headwater', () => {
  const says = ['crane digest', 'crane ls', 'skopeo inspect', 'skopeo list-tags', 'regctl artifact list']
  const only = (command: string) => !says.some((one) => command.startsWith(one))
  const { cells } = describeClients(['large-layer'], { largeBytes, only })

  it('is as the committed table says', async () => {
    const committed = await committedCells()
    const seen = [...cells].map(([key, { verdict }]) => [key, verdict === 'same' ? '✓' : verdict])
    expect(seen).toEqual([...cells.keys()].map((key) => [key, committed.get(key)]))
  })
})
