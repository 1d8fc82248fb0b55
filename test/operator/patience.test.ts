import { expect, it } from 'vitest'
import { createPatience } from '../../operator/patience.ts'

it('waits for a revision from when it is first asked about, and anew for another', () => {
  let at = 0
  const patience = createPatience(() => at, 100)
  expect(patience.leftMs('a/all', 'r1')).toBe(100)
  at = 60
  expect(patience.leftMs('a/all', 'r1')).toBe(40)
  expect(patience.leftMs('a/other', 'r1')).toBe(100)
  at = 100
  expect(patience.leftMs('a/all', 'r1')).toBe(0)
  expect(patience.leftMs('a/all', 'r2')).toBe(100)
  patience.end('a/all')
  at = 300
  expect(patience.leftMs('a/all', 'r2')).toBe(100)
})
