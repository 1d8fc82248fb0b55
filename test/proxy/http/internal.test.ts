import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createInternal } from '../../../proxy/http/internal.ts'
import { createClusterAuth } from '../../../proxy/internal/cluster-auth.ts'

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
