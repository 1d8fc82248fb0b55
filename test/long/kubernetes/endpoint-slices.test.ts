import { expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { apiServerParts } from '../../rig/kubernetes/api-server.ts'
import { mustRun } from '../../rig/process.ts'

describeWithParts([...apiServerParts, 'kube-controller-manager'], 'an operator with --proxy-service', () => {
  it('asks the ready endpoints of the Service that Kubernetes finds, and no others', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('a network namespace needs root')
    const program = 'test/long/kubernetes/endpoint-slices-program.ts'
    const printed = await mustRun('unshare', ['--net', process.execPath, program], { timeoutMs: 400_000 })
    expect(JSON.parse(printed.trim().split('\n').at(-1) ?? '')).toEqual({
      ...{ both: 'Programmed', frozen: 'not Programmed' },
      ...{ notReady: 'Programmed by the other', none: 'NoProxies', back: 'Programmed' },
    })
  })
})
