import { describe, expect, it } from 'vitest'
import {
  addressesOfEndpoints,
  addressesOfServer,
  createApiServerAddresses,
} from '../../cli/api-server-addresses.ts'

describe('the addresses of the API server', () => {
  it.each([
    ['https://10.96.0.1:443', ['10.96.0.1']],
    ['https://[fd00::1]:6443', ['fd00::1']],
  ])('%s are these', async (server, wanted) => {
    expect(await addressesOfServer(server)).toEqual(wanted)
  })

  it('are resolved where the kubeconfig has a name', async () => {
    const found = await addressesOfServer('https://localhost:6443')
    expect(found.some((address) => address === '127.0.0.1' || address === '::1')).toBe(true)
  })

  it('are those of all endpoints', async () => {
    const asked: unknown[] = []
    const readNamespacedEndpointSlice = async (target: unknown) => {
      asked.push(target)
      return { endpoints: [{ addresses: ['192.0.2.1'] }, { addresses: ['192.0.2.2'] }] }
    }
    const client = { discovery: { readNamespacedEndpointSlice } } as unknown as Parameters<
      typeof addressesOfEndpoints
    >[0]
    expect(await addressesOfEndpoints(client)).toEqual(['192.0.2.1', '192.0.2.2'])
    expect(asked).toEqual([{ namespace: 'default', name: 'kubernetes' }])
  })

  it('are looked for by all ways again and again; of one that fails the last are known', async () => {
    const ending = new AbortController()
    const failures: unknown[] = []
    const changes: (readonly string[])[] = []
    const steps: (readonly string[] | Error)[] = [
      new Error('403'),
      new Error('403'),
      ['192.0.2.1', 'a-name'],
      ['192.0.2.1'],
      new Error('gone'),
      ['192.0.2.2'],
    ]
    const pauses: number[] = []
    const addresses = createApiServerAddresses({
      ways: [
        async () => ['10.96.0.1'],
        async () => {
          const step = steps.shift()!
          if (step instanceof Error) throw step
          return step
        },
      ],
      onFailure: (error) => failures.push((error as Error).message),
      onChange: (now) => changes.push(now),
      sleep: async (ms) => {
        pauses.push(ms)
        if (steps.length === 0) ending.abort()
      },
    })
    await addresses.follow(ending.signal)
    expect(changes).toEqual([['10.96.0.1'], ['10.96.0.1', '192.0.2.1'], ['10.96.0.1', '192.0.2.2']])
    expect(addresses.now()).toBe(changes.at(-1))
    expect(failures).toEqual(['403', 'gone'])
    expect(pauses).toEqual([15_000, 15_000, 300_000, 300_000, 15_000, 300_000])
  })
})
