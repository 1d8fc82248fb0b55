import { expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { mustRun } from '../../rig/process.ts'

describeWithParts(['iptables'], 'half-open clients', () => {
  it('client C3: one that is gone without a word is let go of', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('a network namespace needs root')
    const program = 'test/long/outages/half-open-program.ts'
    const printed = await mustRun('unshare', ['--net', process.execPath, program], { timeoutMs: 60_000 })
    const seen = JSON.parse(printed.trim().split('\n').at(-1) ?? '') as { seconds: number }
    expect(seen).toEqual({
      ...{ before: 2, after: 0, seconds: expect.any(Number) },
      ...{ bodiesClosed: true, outcomes: ['aborted'] },
    })
    expect(seen.seconds).toBeLessThan(15)
  })
})
