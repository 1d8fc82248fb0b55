import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { describeWithParts } from '../../rig/describe-with-parts.ts'
import { mustSucceed } from '../../rig/kubernetes/api-client.ts'
import {
  type Account,
  type ApiServer,
  apiServerParts,
  startApiServer,
} from '../../rig/kubernetes/api-server.ts'
import { type Installation, install, type OperatorProcess, until } from '../../rig/kubernetes/installation.ts'
import { conflict, type Intercept, type Relay, startRelay } from '../../rig/kubernetes/relay.ts'
import { createScenario, type Picture, type Scenario, untilItIs } from '../../rig/kubernetes/scenario.ts'
import { registryResource } from '../../rig/resources.ts'

const isShort = process.env.HEADWATER_SHORT === '1'

/** An operator and what stands between it and the API server. */
interface Related {
  readonly operator: OperatorProcess
  readonly relay: Relay
}

describeWithParts(apiServerParts, 'an operator that is interrupted', () => {
  let server: ApiServer
  let headwater: Installation
  let account: Account
  let scenario: Scenario
  /** What each step comes to where nothing happens. */
  const wanted: Picture[] = []
  const running: Related[] = []

  const start = async (intercept?: Intercept): Promise<Related> => {
    const relay = await startRelay(server, account.token, intercept)
    const operator = await headwater.startOperator(['--kubeconfig', relay.kubeconfig])
    const started = { operator, relay }
    running.push(started)
    return started
  }
  const leads = ({ operator }: Related) => /"leading":true/.test(operator.log())
  const startLeader = async (intercept?: Intercept) => {
    const started = await start(intercept)
    await until(() => leads(started))
    return started
  }
  const end = async ({ operator, relay }: Related) => {
    await operator.kill9()
    await relay.close()
  }
  /** Nothing is written any more. */
  const untilQuiet = async ({ relay }: Related) => {
    for (let before = -1; before !== relay.writes.length; await sleep(1000)) before = relay.writes.length
  }

  beforeAll(async () => {
    server = await startApiServer()
    headwater = await install(server)
    account = await server.serviceAccount('headwater-system', 'headwater-operator')
    scenario = createScenario(server)
    const undisturbed = await startLeader()
    for (const step of scenario.steps) {
      await step.write()
      await until(async () => step.isDone(await scenario.picture()))
      await untilQuiet(undisturbed)
      wanted.push(await scenario.picture())
    }
    await end(undisturbed)
  })
  beforeEach(() => scenario.clear())
  afterEach(() => Promise.all(running.splice(0).map(end)))
  afterAll(async () => {
    await headwater?.close()
    await server?.close()
  })

  it.each([false, true])(
    'K9: comes to the same after a kill at any write, whether it was done or not (%s)',
    async (isAfter) => {
      const numbers = isShort ? [isAfter ? 5 : 11] : Array.from({ length: 50 }, (_, index) => index + 1)
      let kills = 0
      for (const number of numbers) {
        await scenario.clear()
        if (!(await playWithKill(number, isAfter))) break
        kills += 1
      }
      expect(kills).toBeGreaterThan(isShort ? 0 : 10)
    },
  )

  /** Whether there was such a write. */
  async function playWithKill(number: number, isAfter: boolean): Promise<boolean> {
    let isKilled = false
    let current = await startLeader(async (write, forward) => {
      if (write.number !== number) return forward()
      if (isAfter) await forward()
      isKilled = true
      current.operator.signal('SIGKILL')
      return undefined
    })
    let isSecond = false
    for (const [index, step] of scenario.steps.entries()) {
      await step.write()
      await untilItIs(scenario, wanted[index]!, () => isKilled && !isSecond)
      if (!isKilled || isSecond) continue
      await end(current)
      await scenario.deleteLease()
      current = await startLeader()
      isSecond = true
      await untilItIs(scenario, wanted[index]!)
    }
    expect(current.operator.log()).not.toContain('could not be reconciled')
    await end(current)
    return isKilled
  }

  it('K4 and K8: comes to the same where watches lose what happens and nobody is told', async () => {
    const leader = await startLeader()
    await scenario.steps[0]!.write()
    await untilItIs(scenario, wanted[0]!)
    leader.relay.silenceWatches()
    await scenario.steps[1]!.write()
    await scenario.steps[2]!.write()
    const before = leader.relay.writes.length
    await sleep(2000)
    expect(leader.relay.writes).toHaveLength(before) // it cannot know
    if (isShort) leader.relay.cutWatches()
    else await sleep(60_000) // it takes a watch for dead by itself
    await untilItIs(scenario, wanted[2]!)
    expect(leads(leader)).toBe(true)
  })

  it('K8: comes to the same where it is told everything twice, and all of it again after each watch', async () => {
    const leader = await startLeader()
    leader.relay.repeatEvents()
    leader.relay.cutWatches()
    for (const [index, step] of scenario.steps.entries()) {
      await step.write()
      await untilItIs(scenario, wanted[index]!)
      await untilQuiet(leader)
      const before = leader.relay.writes.length
      const watches = leader.relay.watches()
      leader.relay.cutWatches()
      await until(() => leader.relay.watches() === watches)
      await untilQuiet(leader) // it was told everything
      expect(await scenario.picture()).toEqual(wanted[index])
      // of what was deleted it cannot know at once that it was
      if (index < 2) expect(leader.relay.writes).toHaveLength(before)
    }
  })

  it('K16: has a leader that was frozen between two writes end without another one', async () => {
    const first = await startLeader(async (write, forward) => {
      if (write.number === 3) first.operator.signal('SIGSTOP')
      return forward()
    })
    const second = await start()
    for (const step of scenario.steps) await step.write()
    await untilItIs(scenario, wanted[2]!)
    expect(leads(second)).toBe(true)
    const received = first.relay.received()
    expect(first.relay.writes.length).toBeLessThan(7)
    first.operator.signal('SIGCONT')
    expect(await first.operator.exited).toBe(1)
    expect(first.operator.log()).toContain('the Lease is lost')
    expect(first.relay.received()).toBe(received) // of the Lease neither
    expect(await scenario.picture()).toEqual(wanted[2])
  })

  it('K7: writes its status once it is not refused with 409 any more, and never over a spec', async () => {
    let isRefusing = true
    let refused = 0
    const leader = await startLeader(async ({ path }, forward) => {
      if (!isRefusing || !path.endsWith('/status')) return forward()
      refused += 1
      return conflict()
    })
    await scenario.steps[0]!.write()
    const path = '/apis/headwater.dev/v1alpha1/namespaces/default/virtualregistries/all'
    const ends = Date.now() + (isShort ? 3000 : 20_000)
    let generation = 0
    for (let turn = 0; Date.now() < ends; turn++) {
      const order = turn % 2 === 0 ? ['spare', 'hub'] : ['hub', 'spare']
      const { spec } = registryResource('all', order)
      const { metadata } = mustSucceed(await server.client.request('PATCH', path, { spec }))
      generation = metadata.generation
      await sleep(100)
    }
    await scenario.steps[0]!.write()
    await sleep(1000)
    expect(refused).toBeGreaterThan(10)
    isRefusing = false // and nothing happens that would have it look again
    await until(async () => scenario.steps[0]!.isDone(await scenario.picture()))
    const { metadata, spec } = await headwater.get('virtualregistries', 'all')
    expect(
      spec.upstreams.map(({ upstreamRef }: { upstreamRef: { name: string } }) => upstreamRef.name),
    ).toEqual(['hub', 'spare'])
    expect(metadata.generation - generation).toBeLessThan(2) // nobody but us wrote a spec
    expect(leader.operator.log()).not.toContain('could not be reconciled')
  })
})
