import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createInternal } from '../../../proxy/http/internal.ts'
import { registerState } from '../../../proxy/http/state.ts'
import { createClusterAuth } from '../../../proxy/internal/cluster-auth.ts'
import type { ProxyState } from '../../../proxy/routes.ts'

const auth = createClusterAuth(['k'.repeat(32)])
const now = 1_800_000_000_000
const app = createInternal({ auth, now: () => now })
app.get('/internal/v1/thing', async () => ({ said: 'yes' }))

afterEach(() => app.server.closeAllConnections())

function ask(url: string, authorization?: string, method: 'GET' | 'POST' = 'GET') {
  const headers = authorization === undefined ? {} : { authorization }
  return app.inject({ method, url, headers })
}

describe('the internal listener', () => {
  it('answers who has the key', async () => {
    const answer = await ask('/internal/v1/thing?a=b', auth.sign('GET', '/internal/v1/thing?a=b', now))
    expect(answer.json()).toEqual({ said: 'yes' })
  })

  it.each([
    ['what is there', '/internal/v1/thing'],
    ['what is not there', '/internal/v1/nothing'],
    ['a path that cannot be decoded', '/internal/%zz'],
  ])('says 401 and nothing else of %s to anybody else', async (_name, url) => {
    const answer = await ask(url)
    expect([answer.statusCode, answer.body]).toEqual([401, ''])
  })

  it('says no more of what is not there to who has the key', async () => {
    const answer = await ask('/internal/v1/nothing', auth.sign('GET', '/internal/v1/nothing', now))
    expect([answer.statusCode, answer.body]).toEqual([404, ''])
  })

  it('closes on what is no HTTP', async () => {
    await app.listen({ host: '127.0.0.1', port: 0 })
    const { port } = app.server.address() as { port: number }
    const text = await new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.end('nonsense\r\n\r\n'))
      let received = ''
      socket.setEncoding('utf8').on('data', (part: string) => {
        received += part
      })
      socket.on('close', () => resolve(received)).on('error', reject)
    })
    await app.close()
    expect(text).toMatch(/^(HTTP\/1\.1 400 |$)/)
  })
})

describe('the state of a proxy', () => {
  const state = { version: 'v1' } as unknown as ProxyState
  const asked: unknown[] = []
  const other = createInternal({ auth, now: () => now })
  registerState(other, {
    read: async (after, waitMs) => {
      asked.push([after, waitMs])
      return after === 'v1' ? undefined : state
    },
  })
  const read = (target: string) =>
    other.inject({ url: target, headers: { authorization: auth.sign('GET', target, now) } })

  it('is told to who knows another version, and 304 to who knows this one', async () => {
    expect((await read('/internal/v1/state')).json()).toEqual(state)
    expect((await read('/internal/v1/state?after=v1&wait=0')).statusCode).toBe(304)
  })

  it.each([
    ['wait=5', 5000],
    ['wait=600', 60_000],
    ['wait=-1', 0],
    ['wait=soon', 0],
    ['', 0],
  ])('is waited for with %s', async (query, waitMs) => {
    await read(`/internal/v1/state?${query}`)
    expect(asked.at(-1)).toEqual([undefined, waitMs])
  })
})
