import { describe, expect, it } from 'vitest'
import { policyStatus } from '../../../operator/cleanup-policy/plan.ts'
import { seenPolicy } from '../seen.ts'

const now = new Date('2026-11-22T06:00:00.500Z')

function said(spec: Record<string, unknown>) {
  const { conditions } = policyStatus(seenPolicy(spec), now)
  return Object.fromEntries(conditions.map(({ type, status, reason }) => [type, `${status}/${reason}`]))
}
const messageOf = (spec: Record<string, unknown>, wanted: string) =>
  policyStatus(seenPolicy(spec), now).conditions.find(({ type }) => type === wanted)?.message

const accepted = { Accepted: 'True/Accepted', LastRunSucceeded: 'Unknown/NeverRun' }
const refused = (reason: string) => ({
  ...{ Ready: `False/${reason}`, Accepted: `False/${reason}`, Stalled: `True/${reason}` },
  LastRunSucceeded: 'Unknown/NeverRun',
})

describe('the status of a CleanupPolicy', () => {
  it.each([
    ['one of defaults alone', {}, { ...accepted, Ready: 'True/NotRunYet' }],
    ['one that is suspended', { suspend: true }, { ...accepted, Ready: 'True/Suspended' }],
    [
      'a zone of the database',
      { schedule: { timeZone: 'Europe/Berlin' } },
      { ...accepted, Ready: 'True/NotRunYet' },
    ],
    [
      'a zone by its older name',
      { schedule: { timeZone: 'US/Eastern' } },
      { ...accepted, Ready: 'True/NotRunYet' },
    ],
    ['a zone that there is not', { schedule: { timeZone: 'Europe/Atlantis' } }, refused('UnknownTimeZone')],
    ['an offset, which is no name', { schedule: { timeZone: '+01' } }, refused('UnknownTimeZone')],
    [
      'a suspended one that is wrong',
      { suspend: true, schedule: { timeZone: 'Nowhere' } },
      refused('UnknownTimeZone'),
    ],
    [
      'what was stored before the schema',
      { keepAfterDownloadDays: 0, mode: 'Sometimes' },
      refused('InvalidSpec'),
    ],
  ])('of %s is right', (_title, spec, wanted) => {
    expect(said(spec)).toEqual(wanted)
  })

  it('says that nothing is deleted, and which words are wrong', () => {
    expect(messageOf({}, 'Ready')).toContain('nothing is deleted')
    const bad = { keepAfterDownloadDays: 0, mode: 'Sometimes' }
    expect(messageOf(bad, 'Accepted')).toMatch(/spec\.keepAfterDownloadDays: .*; spec\.mode: /)
    expect(messageOf({ schedule: { timeZone: 'Europe/Atlantis' } }, 'Accepted')).toContain('Europe/Atlantis')
  })

  it('speaks of the generation it was made from, and echoes the request to look again', () => {
    const annotations = { 'headwater.dev/reconcile-requested-at': 'now' }
    expect(policyStatus(seenPolicy({}, { annotations }), now)).toMatchObject({
      ...{ observedGeneration: 3, lastHandledReconcileAt: 'now' },
    })
  })

  it('of the same policy is the same later', () => {
    const first = policyStatus(seenPolicy({}), now)
    const again = policyStatus(seenPolicy({}, {}, { ...first }), new Date('2026-12-01T00:00:00Z'))
    expect(again).toEqual(first)
  })
})
