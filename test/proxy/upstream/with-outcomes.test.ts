import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { UpstreamClient } from '../../../proxy/upstream/client.ts'
import { withOutcomes } from '../../../proxy/upstream/with-outcomes.ts'
import { createFakeUpstream, type FakeUpstream, fault } from '../../rig/fake-upstream.ts'
import { startClient, startRaw, upstreamAt } from './doubles.ts'

let upstream: FakeUpstream
let client: UpstreamClient
let told: (string | undefined)[]

beforeEach(async () => {
  upstream = await createFakeUpstream()
  told = []
  client = withOutcomes(startClient(), (_upstream, trouble) => told.push(trouble?.kind))
})
afterEach(async () => {
  await client.close()
  await upstream.close()
})

const route = (password?: string) =>
  upstreamAt(upstream.url, password === undefined ? {} : { credentials: { username: 'puller', password } })
const probe = (password?: string, signal?: AbortSignal) =>
  client.request({ upstream: route(password), method: 'GET', repository: '', resource: '', signal })

describe('a probe', () => {
  it('asks for /v2/ and nothing else', async () => {
    expect(await probe()).toMatchObject({ found: true, status: 200 })
    expect(upstream.requests().map(({ method, path }) => `${method} ${path}`)).toEqual(['GET /v2/'])
    expect(told).toEqual([undefined])
  })

  it.each(['basic', 'token'] as const)('says whether credentials are accepted, with %s', async (kind) => {
    Object.assign(upstream.auth, { kind, username: 'puller', password: 'right' })
    expect(await probe('right')).toMatchObject({ found: true })
    await expect(probe('wrong')).rejects.toMatchObject({ kind: 'credentials-refused' })
    expect(told).toEqual([undefined, 'credentials-refused'])
    const scopes = upstream.requests({ path: '/token' }).flatMap(({ query }) => query.getAll('scope'))
    expect(scopes).toEqual([])
  })
})

describe('what is told of questions', () => {
  it('is trouble where there was some', async () => {
    await upstream.stop()
    await expect(probe()).rejects.toMatchObject({ kind: 'unavailable' })
    expect(told).toEqual(['unavailable'])
  })

  it('is nothing where nobody waited for the answer any more', async () => {
    upstream.always('*', '*', fault.hang())
    const giveUp = new AbortController()
    const asked = probe(undefined, giveUp.signal)
    setTimeout(() => giveUp.abort(), 50)
    await expect(asked).rejects.toThrow()
    expect(told).toEqual([])
  })

  it('is nothing where no place for a blob got free: it was not asked', async () => {
    const { url } = await startRaw((socket) =>
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello'),
    )
    const busy = withOutcomes(startClient({ limits: { connections: 1 } }), (_upstream, trouble) =>
      told.push(trouble?.kind),
    )
    const resource = `blobs/sha256:${'a'.repeat(64)}`
    const blob = { upstream: upstreamAt(url), method: 'GET', repository: 'team/app', resource } as const
    const first = await busy.request(blob)
    await expect(busy.request({ ...blob, firstByteMs: 100 })).rejects.toMatchObject({ kind: 'blocked' })
    expect(told).toEqual([undefined])
    if (first.found) first.body.destroy()
  })

  it('is an answer where it was a no', async () => {
    const no = await client.request({
      ...{ upstream: route(), method: 'HEAD', repository: 'team/app', resource: 'manifests/none' },
    })
    expect(no).toMatchObject({ found: false, status: 404 })
    expect(told).toEqual([undefined])
  })
})
