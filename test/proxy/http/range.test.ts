import fc from 'fast-check'
import { expect, it } from 'vitest'
import { decideRange } from '../../../proxy/http/range.ts'

it.each([
  [undefined, 10, { kind: 'whole' }],
  ['bytes=0-0', undefined, { kind: 'whole' }],
  ['bytes=0-0', 10, { kind: 'part', start: 0, end: 0 }],
  ['bytes=5-', 10, { kind: 'part', start: 5, end: 9 }],
  ['bytes=-3', 10, { kind: 'part', start: 7, end: 9 }],
  ['bytes=-30', 10, { kind: 'part', start: 0, end: 9 }],
  ['bytes=5-500', 10, { kind: 'part', start: 5, end: 9 }],
  ['bytes= 1-2 ', 10, { kind: 'part', start: 1, end: 2 }],
  ['bytes=10-', 10, { kind: 'unsatisfiable' }],
  ['bytes=5-0', 10, { kind: 'unsatisfiable' }],
  ['bytes=-0', 10, { kind: 'unsatisfiable' }],
  ['bytes=0-', 0, { kind: 'unsatisfiable' }],
  ['bytes=-1', 0, { kind: 'unsatisfiable' }],
  ['bytes=-', 10, { kind: 'whole' }],
  ['bytes=0-1,3-4', 10, { kind: 'whole' }],
  ['bytes=0x1-2', 10, { kind: 'whole' }],
  ['lines=0-1', 10, { kind: 'whole' }],
  ['', 10, { kind: 'whole' }],
])('decides %j of %s bytes', (header, size, decision) => {
  expect(decideRange(header, size)).toEqual(decision)
})

it('never decides on bytes that are not there', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom('0', '1', '9', '-', ',', '='), maxLength: 30 }),
      fc.nat(),
      (text, size) => {
        const decision = decideRange(`bytes=${text}`, size)
        if (decision.kind !== 'part') return
        expect(decision.start).toBeGreaterThanOrEqual(0)
        expect(decision.end).toBeLessThan(size)
        expect(decision.start).toBeLessThanOrEqual(decision.end)
      },
    ),
    { numRuns: 2000 },
  )
})
