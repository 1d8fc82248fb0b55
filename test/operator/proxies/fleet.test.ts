import { expect, it } from 'vitest'
import { createFleet } from '../../../operator/proxies/fleet.ts'
import { servedBy } from '../../../operator/proxies/judge.ts'
import type { ProxyState } from '../../../proxy/routes.ts'

const [one, two] = ['http://10.0.0.1:5053', 'http://10.0.0.2:5053'] as const

function stateOf(more: Partial<ProxyState> = {}): ProxyState {
  return {
    version: 'v',
    proxy: { id: 'p', version: '1' },
    ...{ isReady: true, isDraining: false, registries: {}, upstreams: {}, problems: {}, health: {} },
    ...more,
  }
}
const serving = (revision: string) => stateOf({ registries: { 'a/all': revision } })

function scene() {
  let at = 0
  const fleet = createFleet({ now: () => at })
  const told: string[] = []
  fleet.onChange((kind, key) => told.push(`${kind} ${key}`))
  return {
    ...{ fleet, told },
    programmed: (revision: string, before?: Parameters<typeof fleet.programmed>[3]) =>
      fleet.programmed('VirtualRegistry', 'a/all', revision, before).reason,
    pass: (ms: number) => {
      at += ms
    },
  }
}

it('has a key looked at again when what is said of it turns, and not before', () => {
  const { fleet, told, programmed } = scene()
  expect(programmed('r1')).toBe('NotAsked')
  fleet.setProxies([one, two])
  fleet.setState(one, serving('r1'))
  expect(told).toEqual([])
  fleet.setState(two, serving('r0'))
  expect(told.splice(0)).toEqual(['VirtualRegistry a/all'])
  expect(programmed('r1')).toBe('Pending')
  fleet.setState(two, serving('r1'))
  expect(told.splice(0)).toEqual(['VirtualRegistry a/all'])
  expect(programmed('r1')).toBe('Programmed')
})

it('says nothing any more of what was served once: proxies join, drain, restart and go', () => {
  const { fleet, told, programmed } = scene()
  fleet.setProxies([one])
  fleet.setState(one, serving('r1'))
  expect(programmed('r1')).toBe('Programmed')
  fleet.setProxies([one, two])
  fleet.setTrouble(two, 'ECONNREFUSED')
  fleet.setState(two, serving('r0'))
  fleet.setState(one, { ...serving('r1'), isDraining: true })
  fleet.setProxies([])
  expect(told).toEqual([])
  expect(programmed('r1', servedBy('r1'))).toBe('Programmed')
  expect(programmed('r2', servedBy('r1'))).toBe('NoProxies')
})

it('takes nothing of a proxy that is not among those there are', () => {
  const { fleet, programmed } = scene()
  fleet.setState(one, serving('r1'))
  fleet.setProxies([two])
  fleet.setState(one, serving('r1'))
  expect(programmed('r1')).toBe('NotAsked')
})

it('K21: tells of many upstreams that flap no more than a few times each', () => {
  const { fleet, told, pass } = scene()
  const keys = Array.from({ length: 200 }, (_none, index) => `a/u${index}`)
  const health = (isUp: boolean) =>
    Object.fromEntries(
      keys.map((key) => [
        key,
        { id: 'i', revision: 'r', ...(isUp ? {} : { trouble: { kind: 'timeout', message: 'late' } }) },
      ]),
    )
  fleet.setProxies([one])
  for (let second = 0; second < 600; second++) {
    fleet.setState(one, stateOf({ health: health(second % 2 === 0) }))
    pass(1000)
  }
  fleet.close()
  expect(told.length / keys.length).toBeLessThanOrEqual(8)
}, 60_000)

it('believes a word about another document at once', () => {
  const { fleet } = scene()
  const word = (revision: string, refused?: string) => ({
    health: { 'a/hub': { id: 'i', revision, ...(refused === undefined ? {} : { refused }) } },
  })
  fleet.setProxies([one])
  fleet.setState(one, stateOf(word('r1', 'no')))
  fleet.setState(one, stateOf(word('r2')))
  expect(fleet.health('a/hub', { id: 'i', revision: 'r2' })?.credentialsValid?.status).toBe('True')
  fleet.close()
})

it('keeps what was said of an upstream when the proxy that said it goes', () => {
  const { fleet } = scene()
  fleet.setProxies([one])
  fleet.setState(one, stateOf({ health: { 'a/hub': { id: 'i', revision: 'r' } } }))
  fleet.setProxies([])
  expect(fleet.health('a/hub', { id: 'i', revision: 'r' })?.reachable?.status).toBe('True')
  fleet.forget('Upstream', 'a/hub')
  expect(fleet.health('a/hub', { id: 'i', revision: 'r' })?.reachable).toBeUndefined()
})

it('adds up what is cached once every proxy has counted', () => {
  const { fleet, told } = scene()
  const count = (entries: number) => ({
    cache: { 'a/hub': { entries, bytes: 1, observedTime: '2026-01-01' } },
  })
  const ofTwo = (more = {}) => stateOf({ proxy: { id: 'q', version: '1' }, ...more })
  fleet.setProxies([one, two])
  fleet.setState(one, stateOf(count(1)))
  fleet.setState(two, ofTwo())
  expect(fleet.cache('a/hub')).toBeUndefined()
  fleet.setState(two, ofTwo(count(2)))
  expect(fleet.cache('a/hub')?.entries).toBe(3)
  fleet.setState(two, ofTwo(count(5)))
  expect(fleet.cache('a/hub')?.entries).toBe(3)
  expect(told).toEqual(['Upstream a/hub'])
  fleet.close()
})
