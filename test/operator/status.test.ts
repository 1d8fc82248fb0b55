import { describe, expect, it } from 'vitest'
import {
  conditionsOf,
  isSame,
  longestMessage,
  summarise,
  type Verdict,
} from '../../operator/runtime/conditions.ts'
import { happeningsOf } from '../../operator/status.ts'

const earlier = new Date('2026-11-22T06:00:00.999Z')
const later = new Date('2026-11-22T07:00:00Z')
const verdict = (status: Verdict['status'], reason = 'Because', message = 'so'): Verdict => ({
  status,
  reason,
  message,
})

describe('conditions', () => {
  it('move their time only when their status turns', () => {
    const first = conditionsOf({ Ready: verdict('False') }, { previous: [], generation: 1, now: earlier })
    const second = conditionsOf(
      { Ready: verdict('False', 'Else') },
      { previous: first, generation: 2, now: later },
    )
    const third = conditionsOf({ Ready: verdict('True') }, { previous: second, generation: 2, now: later })
    expect(first[0]!.lastTransitionTime).toBe('2026-11-22T06:00:00Z')
    expect(second[0]).toMatchObject({
      lastTransitionTime: '2026-11-22T06:00:00Z',
      reason: 'Else',
      observedGeneration: 2,
    })
    expect(third[0]!.lastTransitionTime).toBe('2026-11-22T07:00:00Z')
  })

  it('have messages of a bounded length', () => {
    const [only] = conditionsOf(
      { Ready: verdict('False', 'X', 'm'.repeat(40_000)) },
      { previous: [], generation: 1, now: later },
    )
    expect(only!.message).toHaveLength(longestMessage)
  })

  it('are summed up by the first that is false, then by the first that is unknown', () => {
    const all = verdict('True', 'All')
    expect(
      summarise([verdict('Unknown', 'A'), verdict('False', 'B'), verdict('False', 'C')], all).reason,
    ).toBe('B')
    expect(summarise([verdict('True', 'A'), verdict('Unknown', 'B')], all).reason).toBe('B')
    expect(summarise([verdict('True', 'A')], all).reason).toBe('All')
  })

  it('are compared by what they say', () => {
    expect(isSame({ a: 1, b: undefined }, { a: 1 })).toBe(true)
    expect(isSame(undefined, { a: 1 })).toBe(false)
    expect(isSame({ a: 1 }, { a: 2 })).toBe(false)
  })
})

describe('events', () => {
  const of = (type: string, status: Verdict['status'], reason = 'Because') =>
    conditionsOf({ [type]: verdict(status, reason) }, { previous: [], generation: 1, now: later })

  it.each([
    ['the first Ready', [], of('Ready', 'True'), ['Normal Because']],
    ['a Ready that turned', of('Ready', 'True'), of('Ready', 'False', 'Gone'), ['Warning Gone']],
    [
      'a Ready that is false for another reason',
      of('Ready', 'False', 'A'),
      of('Ready', 'False', 'B'),
      ['Warning B'],
    ],
    ['a Ready that stays', of('Ready', 'True', 'A'), of('Ready', 'True', 'B'), []],
    ['a Ready not known yet', [], of('Ready', 'Unknown'), []],
    ['a Reachable not known yet', [], of('Reachable', 'Unknown'), []],
    ['a Reachable not known any more', of('Reachable', 'True'), of('Reachable', 'Unknown'), []],
    [
      'a Reachable that is false from the first',
      [],
      of('Reachable', 'False', 'Refused'),
      ['Warning Refused'],
    ],
    [
      'a Reachable that came back',
      of('Reachable', 'False'),
      of('Reachable', 'True', 'Back'),
      ['Normal Back'],
    ],
    [
      'what Ready says of its credentials, once',
      [],
      [...of('Ready', 'False', 'RefNotFound'), ...of('CredentialsValid', 'False', 'RefNotFound')],
      ['Warning RefNotFound'],
    ],
    [
      'credentials that are refused, beside a Ready that is well',
      [],
      [...of('Ready', 'True', 'Ready'), ...of('CredentialsValid', 'False', 'Unauthorized')],
      ['Normal Ready', 'Warning Unauthorized'],
    ],
    [
      'credentials that are gone now, too, which Ready did not tell of',
      [...of('Ready', 'False', 'RefNotFound'), ...of('CredentialsValid', 'Unknown', 'NotTried')],
      [...of('Ready', 'False', 'RefNotFound'), ...of('CredentialsValid', 'False', 'RefNotFound')],
      ['Warning RefNotFound'],
    ],
    ['an Accepted, which Ready speaks of', of('Accepted', 'True'), of('Accepted', 'False'), []],
  ])('tell of %s', (_title, previous, next, wanted) => {
    expect(happeningsOf(previous, next).map(({ type, reason }) => `${type} ${reason}`)).toEqual(wanted)
  })
})
