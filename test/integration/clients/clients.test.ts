import { describe, expect, it } from 'vitest'
import { commandTitles, describeClients } from '../../rig/clients/describe-clients.ts'
import { committedCells, formatTable, writeSection, writing } from '../../rig/clients/page.ts'
import { largeLayerBytes, sampleIds, sampleTitles } from '../../rig/clients/samples.ts'

/** The 1 GiB of the table is another tier's; here a layer is only larger than what memory keeps. */
const largeBytes = writing ? largeLayerBytes : 64 * 1024 * 1024

describe('through Headwater', () => {
  const { cells, versions } = describeClients(sampleIds, { largeBytes })

  it.runIf(writing)('everything that was seen is written', async () => {
    expect(cells.size).toBe(commandTitles.length * sampleIds.length)
    expect([...cells].filter(([, { verdict }]) => verdict === 'red')).toEqual([])
    const table = formatTable({
      rows: commandTitles,
      columns: sampleIds.map((id) => sampleTitles[id]),
      cells,
    })
    await writeSection('clients', `Seen with ${[...versions.values()].join(', ')}.\n\n${table}`)
  })

  it('the committed table has nothing better than what was seen', async () => {
    const committed = await committedCells()
    const worse = [...cells].filter(
      ([key, { verdict }]) =>
        verdict === 'red' || (verdict === 'limit' && !/^limit/.test(committed.get(key) ?? '')),
    )
    expect(worse).toEqual([])
    expect([...cells.keys()].filter((key) => !committed.get(key))).toEqual([])
  })
})
