import { afterAll, beforeAll, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { type ApiServer, apiServerParts, startApiServer } from '../../rig/kubernetes/api-server.ts'
import { type Installation, install, type OperatorProcess, until } from '../../rig/kubernetes/installation.ts'
import { upstreamResources } from '../../rig/resources.ts'

describeWithParts(apiServerParts, 'the operators of two installations', () => {
  let server: ApiServer
  let headwater: Installation
  let second: OperatorProcess

  /** Its account is the administrator's: the first has the rights that are written down. */
  const startSecond = (...namespaces: string[]) =>
    headwater.startOperator([
      ...['--kubeconfig', server.kubeconfig, '--namespace', 'second'],
      ...namespaces.flatMap((name) => ['--watch-namespace', name]),
    ])
  const watches = (operator: OperatorProcess) => /"reconciled"/.test(operator.log())

  beforeAll(async () => {
    server = await startApiServer()
    headwater = await install(server)
    for (const name of ['second', 'second-routes', 'team-a', 'team-b']) await server.createNamespace(name)
    for (const namespace of ['team-a', 'team-b']) {
      await headwater.apply(upstreamResources('hub', { url: 'https://registry.example.com', namespace }))
    }
    second = await startSecond('team-a')
    await until(() => watches(second))
  })
  afterAll(async () => {
    await headwater?.close()
    await server?.close()
  })

  it('K16: stop the later where both watch a namespace, which says who the other is and writes nothing', async () => {
    const { metadata } = await headwater.get('upstreams', 'hub', 'team-a')
    const first = await headwater.startOperator()
    expect(await first.exited).toBe(1)
    expect(first.log()).toMatch(/the operator of the installation in namespace second \(\S+\) watches team-a/)
    expect(watches(first)).toBe(false)
    expect((await headwater.get('upstreams', 'hub', 'team-a')).metadata).toEqual(metadata)
    expect(await headwater.documents()).toEqual([])
  })

  it('work side by side where they watch different namespaces', async () => {
    const first = await headwater.startOperator(['--watch-namespace', 'team-b'])
    await headwater.condition('upstreams', 'hub', { type: 'Ready', status: 'True', namespace: 'team-b' })
    expect(await first.stop()).toBe(0)
    await server.mustKubectl(['delete', 'upstream', 'hub', '-n', 'team-b', '--wait=false'])
    await headwater.apply(
      upstreamResources('hub', { url: 'https://another.example.com', namespace: 'team-b' }),
    )
  })

  it('take turns when one has stopped in order', async () => {
    expect(await second.stop()).toBe(0)
    await headwater.startOperator()
    await headwater.condition('upstreams', 'hub', { type: 'Ready', status: 'True', namespace: 'team-b' })
  })
})
