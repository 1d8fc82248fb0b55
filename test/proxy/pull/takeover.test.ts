import { expect, it } from 'vitest'
import { takeover } from '../../../proxy/pull/takeover.ts'

it.each([
  ['takes over at once from one that was cut', 'lost', 'same', 2_900, { kind: 'take-over' }],
  ['takes over what nobody holds', 'lost', 'nobody', 0, { kind: 'take-over' }],
  ['takes over what ran out in silence', 'silent', 'nobody', 0, { kind: 'take-over' }],
  ['follows who took over before us', 'lost', 'another', 3_000, { kind: 'follow' }],
  ['follows who took over while all was silent', 'silent', 'another', 2_500, { kind: 'follow' }],
  ['goes apart where one is silent but renews', 'silent', 'same', 2_800, { kind: 'go-apart' }],
  ['waits for what may yet be renewed', 'silent', 'same', 2_000, { kind: 'wait', ms: 200 }],
  ['waits no longer than it need', 'silent', 'same', 600, { kind: 'wait', ms: 100 }],
  ['takes over when two renewals were missed', 'silent', 'same', 500, { kind: 'take-over' }],
] as const)('%s', (_name, leader, holder, leftMs, step) => {
  expect(takeover({ leader, holder, leftMs, isRenewed: false, unknownMs: 0 })).toEqual(step)
})

it('goes apart where one that is silent was renewed since, however little it has left', () => {
  const sight = { leader: 'silent', holder: 'same', leftMs: 400, isRenewed: true, unknownMs: 0 } as const
  expect(takeover(sight)).toEqual({ kind: 'go-apart' })
})

it.each(['lost', 'silent'] as const)('goes alone where leases cannot be asked for long: %s', (leader) => {
  const sight = { leader, holder: 'unknown', leftMs: 0, isRenewed: false } as const
  expect(takeover({ ...sight, unknownMs: 0 })).toEqual({ kind: 'wait', ms: 200 })
  expect(takeover({ ...sight, unknownMs: 800 })).toEqual({ kind: 'go-alone' })
})

it('is never later than the lease: from any moment a silent leader is given up within it', () => {
  for (let leftMs = 2_600; ; ) {
    const step = takeover({ leader: 'silent', holder: 'same', leftMs, isRenewed: false, unknownMs: 0 })
    if (step.kind !== 'wait') return expect(leftMs).toBe(500)
    expect(step.ms).toBeGreaterThan(0)
    leftMs -= step.ms
  }
})
