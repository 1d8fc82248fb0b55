import { beforeAll, describe, expect, it } from 'vitest'
import {
  allRows,
  committedTable,
  formatTable,
  gaps,
  type ListedTest,
  listTests,
  testsOf,
} from './rig/fault-table.ts'

describe('the table of faults and bad inputs', () => {
  let tests: readonly ListedTest[]
  beforeAll(async () => {
    tests = await listTests()
  }, 300_000)

  it('has a test for every row', () => {
    expect(gaps(tests)).toEqual([])
  })

  it('is committed as it would be generated; otherwise run "npm run generate"', async () => {
    expect(await committedTable()).toBe(formatTable(tests))
  })
})

it('has no number twice', () => {
  const ids = allRows().map(({ id }) => id)
  expect(ids).toEqual([...new Set(ids)])
})

it.each([
  ['a cut answer (first of a table)', false],
  ['U1: serves the cache', true],
  ['U1, U2 and U3 serve the cache', true],
  ['answers the group (U1) > as it should', true],
  ['U10 serves the cache', false],
  ['U1b serves the cache', false],
])('reads %j as a test of one row: %s', (name, expected) => {
  expect(testsOf({ id: ['U', '1'].join(''), what: '' }, [{ name, file: '' }]).length === 1).toBe(expected)
})
