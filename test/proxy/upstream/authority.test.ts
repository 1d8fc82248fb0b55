import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { UpstreamError } from '../../../proxy/upstream/errors.ts'
import {
  ask,
  createTold,
  credentials,
  type Double,
  type Handler,
  reply,
  type Seen,
  startClient,
  startDouble,
  startRaw,
  upstreamAt,
} from './doubles.ts'

const rightBasic = `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString('base64')}`
const isToken = ({ path }: Seen) => path === '/token'
const asked = (double: Double) => double.requests.filter((request) => !isToken(request))
const exchanges = (double: Double) => double.requests.filter(isToken)

interface Script {
  /** The answer of the token service; the n-th exchange counts from 1. */
  token?: (request: Seen, nth: number, response: Parameters<typeof reply>[0]) => void
  resource?: (request: Seen, response: Parameters<typeof reply>[0]) => void
  takes?: (token: string) => boolean
}

/** A registry with its token service at `/token`. */
async function startTokenRegistry({ token, resource, takes = () => true }: Script = {}): Promise<Double> {
  let nth = 0
  const handler: Handler = (request, response) => {
    if (isToken(request)) {
      nth++
      return token ? token(request, nth, response) : giveToken(response, `token${nth}`)
    }
    const [, sent] = /^Bearer (.+)$/.exec(request.headers.authorization ?? '') ?? []
    if (sent === undefined || !takes(sent)) {
      const [, repository] = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(request.path) ?? []
      const challenge = `Bearer realm="${double.url}/token",service="reg",scope="repository:${repository}:pull"`
      return reply(response, 401, { 'WWW-Authenticate': challenge })
    }
    return resource ? resource(request, response) : reply(response, 200, {}, 'ok')
  }
  const double = await startDouble(handler)
  return double
}

function giveToken(response: Parameters<typeof reply>[0], token: string, fields: object = {}): void {
  reply(response, 200, { 'Content-Type': 'application/json' }, JSON.stringify({ token, ...fields }))
}

describe('a token', () => {
  it('is asked for anonymously by the challenge, and used again for the same repository', async () => {
    const registry = await startTokenRegistry()
    const client = startClient()
    for (const resource of ['manifests/latest', 'blobs/sha256:x', 'manifests/latest']) {
      expect(await ask(client, upstreamAt(registry.url), { resource })).toMatchObject({ found: true })
    }
    expect(exchanges(registry)).toHaveLength(1)
    expect(asked(registry).map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      'Bearer token1',
      'Bearer token1',
      'Bearer token1',
    ])
    const [exchange] = exchanges(registry)
    expect(Object.fromEntries(exchange?.query ?? [])).toEqual({
      service: 'reg',
      scope: 'repository:team/app:pull',
    })
    expect(exchange?.headers.authorization).toBeUndefined()
  })

  it('is asked for with the credentials, where there are some', async () => {
    const registry = await startTokenRegistry()
    await ask(startClient(), upstreamAt(registry.url, { credentials }))
    expect(exchanges(registry)[0]?.headers.authorization).toBe(rightBasic)
    expect(asked(registry).every(({ headers }) => headers.authorization !== rightBasic)).toBe(true)
  })

  it('may be called access_token', async () => {
    const registry = await startTokenRegistry({
      token: (_request, _nth, response) => reply(response, 200, {}, '{"access_token":"other"}'),
    })
    await ask(startClient(), upstreamAt(registry.url))
    expect(asked(registry).at(-1)?.headers.authorization).toBe('Bearer other')
  })

  it('U24: is asked for once by a hundred pulls at a time, also when the old one is refused', async () => {
    let taken = 'token1'
    const registry = await startTokenRegistry({ takes: (token) => token === taken })
    const client = startClient()
    const upstream = upstreamAt(registry.url)
    const hundred = () => Promise.all(Array.from({ length: 100 }, () => ask(client, upstream)))
    expect((await hundred()).every(({ found }) => found)).toBe(true)
    expect(exchanges(registry)).toHaveLength(1)
    taken = 'token2'
    expect((await hundred()).every(({ found }) => found)).toBe(true)
    expect(exchanges(registry)).toHaveLength(2)
  })

  it.each([
    [{}, 60],
    [{ expires_in: 0 }, 60],
    [{ expires_in: -5 }, 60],
    [{ expires_in: '3600' }, 60],
    [{ expires_in: null }, 60],
    [{ expires_in: 300 }, 300],
    [{ expires_in: 1e12 }, 3600],
  ])(
    'U24: with %j lives %i seconds, and is renewed before they are over, without provoking a 401',
    async (fields, seconds) => {
      let now = 0
      const registry = await startTokenRegistry({
        token: (_request, nth, response) => giveToken(response, `t${nth}`, fields),
      })
      const client = startClient({ now: () => now })
      await ask(client, upstreamAt(registry.url))
      now = seconds * 1000 - 31_000
      await ask(client, upstreamAt(registry.url))
      expect(exchanges(registry)).toHaveLength(1)
      now = seconds * 1000 - 1_000
      await ask(client, upstreamAt(registry.url), { method: 'HEAD' })
      expect(exchanges(registry)).toHaveLength(2)
      expect(asked(registry)).toHaveLength(4)
    },
  )

  it.each([400, 401, 403])('U24: that is refused with %i before its time is renewed once', async (status) => {
    let refused = ''
    const registry = await startTokenRegistry({
      resource: (request, response) =>
        reply(response, request.headers.authorization === refused ? status : 200),
    })
    const client = startClient()
    await ask(client, upstreamAt(registry.url))
    refused = 'Bearer token1'
    expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: true })
    expect(exchanges(registry)).toHaveLength(2)
  })

  it.each([401, 403])(
    'U22: that was had just now and is refused with %i makes a no, in two attempts',
    async (status) => {
      const registry = await startTokenRegistry({
        resource: (_request, response) =>
          reply(response, status, {
            'WWW-Authenticate': `Bearer realm="${registry.url}/token",service="reg",scope="repository:team/app:pull"`,
          }),
      })
      const client = startClient()
      expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: false, status })
      expect(asked(registry)).toHaveLength(2)
      expect(exchanges(registry)).toHaveLength(1)
      expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: false, status })
      expect(asked(registry)).toHaveLength(4)
    },
  )

  it.each([400, 401, 403, 404])('U22: refused with %i to nobody in particular is a no', async (status) => {
    const registry = await startTokenRegistry({
      token: (_request, _nth, response) => reply(response, status),
    })
    expect(await ask(startClient(), upstreamAt(registry.url))).toMatchObject({ found: false, status })
  })

  it('U23: refused with 401 to our credentials is trouble, and heals', async () => {
    let good = false
    const registry = await startTokenRegistry({
      token: (_request, _nth, response) => (good ? giveToken(response, 'fine') : reply(response, 401)),
    })
    const client = startClient()
    const upstream = upstreamAt(registry.url, { credentials })
    await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'credentials-refused', status: 401 })
    expect(exchanges(registry)).toHaveLength(1)
    good = true
    expect(await ask(client, upstream)).toMatchObject({ found: true })
  })

  it('U23: refused with 403 is trouble where the credentials are refused without a scope too, which is remembered for a minute', async () => {
    let now = 0
    const registry = await startTokenRegistry({ token: (_request, _nth, response) => reply(response, 403) })
    const client = startClient({ now: () => now })
    const upstream = upstreamAt(registry.url, { credentials })
    const probes = () => exchanges(registry).filter(({ query }) => !query.has('scope'))
    await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'credentials-refused', status: 403 })
    await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'credentials-refused' })
    expect(probes()).toHaveLength(1)
    now = 61_000
    await expect(ask(client, upstream)).rejects.toMatchObject({ kind: 'credentials-refused' })
    expect(probes()).toHaveLength(2)
  })

  it('U26: refused with 403 is a no where the credentials are good', async () => {
    const registry = await startTokenRegistry({
      token: (request, _nth, response) =>
        request.query.has('scope') ? reply(response, 403) : giveToken(response, 'good'),
    })
    const answer = await ask(startClient(), upstreamAt(registry.url, { credentials }))
    expect(answer).toMatchObject({ found: false, status: 403 })
  })

  it.each([
    [
      'U18',
      'without end',
      (response: Parameters<typeof reply>[0]) => void endless(response),
      'invalid-response',
    ],
    [
      'U20',
      'that is HTML',
      (response: Parameters<typeof reply>[0]) => reply(response, 200, {}, '<html>'),
      'invalid-response',
    ],
    [
      'U20',
      'that is null',
      (response: Parameters<typeof reply>[0]) => reply(response, 200, {}, 'null'),
      'invalid-response',
    ],
    [
      'U20',
      'that is not there',
      (response: Parameters<typeof reply>[0]) => reply(response, 200, {}, '{}'),
      'invalid-response',
    ],
    [
      'U20',
      'with a line break',
      (response: Parameters<typeof reply>[0]) => giveToken(response, 'a\r\nX: y'),
      'invalid-response',
    ],
    ['U37', 'of 204', (response: Parameters<typeof reply>[0]) => reply(response, 204), 'invalid-response'],
    [
      'U29',
      'of 429',
      (response: Parameters<typeof reply>[0]) => reply(response, 429, { 'Retry-After': '7' }),
      'rate-limited',
    ],
    ['U4', 'of 500', (response: Parameters<typeof reply>[0]) => reply(response, 500), 'unavailable'],
    ['U3', 'that never comes', () => {}, 'timeout'],
  ])('%s: an answer %s instead of a token is trouble', async (_row, _what, answer, kind) => {
    const registry = await startTokenRegistry({ token: (_request, _nth, response) => answer(response) })
    const client = startClient({ limits: { tokenMs: 400 } })
    await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({ name: 'UpstreamError', kind })
  })

  it('I8: counts as a request, and its limit is not that of who waits for it', async () => {
    const registry = await startTokenRegistry({
      token: (_request, _nth, response) => void setTimeout(() => giveToken(response, 'late'), 300),
    })
    const told = createTold()
    const client = startClient({ observer: told })
    await expect(ask(client, upstreamAt(registry.url), { firstByteMs: 150 })).rejects.toMatchObject({
      kind: 'timeout',
    })
    expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: true })
    expect(told.sent.map(({ status }) => status)).toContain(401)
    expect(exchanges(registry)).toHaveLength(1)
  })
})

function endless(response: Parameters<typeof reply>[0]): void {
  response.writeHead(200)
  const more = () => {
    while (!response.destroyed && response.write('x'.repeat(16_384)));
    if (!response.destroyed) response.once('drain', more)
  }
  more()
}

describe('Basic', () => {
  const basicRegistry = (status: (request: Seen) => number) =>
    startDouble((request, response) =>
      request.headers.authorization === undefined
        ? reply(response, 401, { 'WWW-Authenticate': 'Basic realm="x"' })
        : reply(response, status(request)),
    )

  it('is sent once it is known to be wanted', async () => {
    const registry = await basicRegistry(() => 200)
    const client = startClient()
    const upstream = upstreamAt(registry.url, { credentials })
    await ask(client, upstream)
    await ask(client, upstream, { repository: 'other/app' })
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      rightBasic,
      rightBasic,
    ])
  })

  it('U22: asked of nobody in particular is a no', async () => {
    const registry = await basicRegistry(() => 200)
    expect(await ask(startClient(), upstreamAt(registry.url))).toMatchObject({ found: false, status: 401 })
  })

  it('U23: refused with 401 is trouble, in two attempts', async () => {
    const registry = await basicRegistry(() => 401)
    await expect(ask(startClient(), upstreamAt(registry.url, { credentials }))).rejects.toMatchObject({
      kind: 'credentials-refused',
      status: 401,
    })
    expect(registry.requests).toHaveLength(2)
  })

  it.each([
    ['U23', 403, 'credentials-refused'],
    ['U23', 401, 'credentials-refused'],
    ['U23', 500, 'unavailable'],
    ['U26', 200, 'no'],
    ['U26', 404, 'no'],
  ])('%s: refused with 403 while /v2/ says %i is %s', async (_row, status, outcome) => {
    const registry = await basicRegistry(({ path }) => (path === '/v2/' ? status : 403))
    const client = startClient()
    const upstream = upstreamAt(registry.url, { credentials })
    const answer = ask(client, upstream)
    if (outcome !== 'no') return expect(answer).rejects.toMatchObject({ kind: outcome })
    expect(await answer).toMatchObject({ found: false, status: 403 })
    expect(await ask(client, upstream)).toMatchObject({ found: false, status: 403 })
    expect(registry.requests.filter(({ path }) => path === '/v2/')).toHaveLength(1)
  })
})

describe('T1: a realm', () => {
  const elsewhere: [what: string, realm: (evil: Double) => string][] = [
    ['another port', (evil) => `http://127.0.0.1:${evil.port}/token`],
    ['localhost', (evil) => `http://localhost:${evil.port}/token`],
    ['IPv6 loopback', (evil) => `http://[::1]:${evil.port}/token`],
    ['userinfo', (evil) => `http://REGISTRY@127.0.0.1:${evil.port}/token`],
    ['a decimal address', (evil) => `http://2130706433:${evil.port}/token`],
    ['another domain', (evil) => `https://evil.example:${evil.port}/token`],
    ['metadata', () => 'http://169.254.169.254/latest/meta-data'],
    ['no URL', () => 'token'],
  ]

  for (const withCredentials of [true, false]) {
    it.each(elsewhere)(
      `at %s is not asked, ${withCredentials ? 'with credentials' : 'anonymously'}`,
      async (_what, realm) => {
        const evil = await startDouble((_request, response) => giveToken(response, 'stolen'))
        const registry = await startDouble((_request, response) =>
          reply(response, 401, {
            'WWW-Authenticate': `Bearer realm="${realm(evil).replace('REGISTRY', 'good')}",service="x"`,
          }),
        )
        const client = startClient({ resolveHost: async () => [{ address: '127.0.0.1', family: 4 }] })
        const upstream = upstreamAt(registry.url, withCredentials ? { credentials } : {})
        const error = await ask(client, upstream).catch((reason: unknown) => reason)
        expect(error).toMatchObject({ name: 'UpstreamError', kind: 'blocked' })
        expect(evil.connections()).toBe(0)
        expect(registry.requests).toHaveLength(1)
      },
    )
  }

  it('is named by the error', async () => {
    const registry = await startDouble((_request, response) =>
      reply(response, 401, { 'WWW-Authenticate': 'Bearer realm="https://evil.example/token?canary-query"' }),
    )
    const error = await ask(startClient(), upstreamAt(registry.url)).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(UpstreamError)
    expect(String(error)).toContain('evil.example')
    expect(inspect(error, { depth: 10 })).not.toContain('canary')
  })

  it.each([
    ['in the second header', (good: string, evil: string) => [evil, good]],
    ['in the first header', (good: string, evil: string) => [good, evil]],
    ['second in one header', (good: string, evil: string) => [`${evil}, ${good}`]],
    ['first in one header', (good: string, evil: string) => [`${good}, ${evil}`]],
  ])('of its own is found %s', async (_where, headers) => {
    const evil = await startDouble((_request, response) => giveToken(response, 'stolen'))
    const registry = await startRaw((socket, head) => {
      const bearer = (port: number) => `Bearer realm="http://127.0.0.1:${port}/token",service="x"`
      const lines = headers(bearer(registry.port), bearer(evil.port)).map(
        (value) => `WWW-Authenticate: ${value}\r\n`,
      )
      const body = '{"token":"good"}'
      if (head.startsWith('GET /token'))
        socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
      else if (/authorization: Bearer good/i.test(head))
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
      else socket.write(`HTTP/1.1 401 No\r\n${lines.join('')}Content-Length: 0\r\n\r\n`)
    })
    expect(await ask(startClient(), upstreamAt(registry.url, { credentials }))).toMatchObject({
      found: true,
      text: 'ok',
    })
    expect(evil.connections()).toBe(0)
  })

  it('that redirects elsewhere is not followed', async () => {
    const evil = await startDouble((_request, response) => giveToken(response, 'stolen'))
    const registry = await startTokenRegistry({
      token: (_request, _nth, response) => reply(response, 307, { Location: `${evil.url}/token` }),
    })
    await expect(ask(startClient(), upstreamAt(registry.url, { credentials }))).rejects.toMatchObject({
      kind: 'blocked',
    })
    expect(evil.connections()).toBe(0)
  })

  it('in tokenServiceHosts is asked', async () => {
    const service = await startDouble((_request, response) => giveToken(response, 'fine'))
    const registry = await startDouble((request, response) =>
      request.headers.authorization === 'Bearer fine'
        ? reply(response, 200)
        : reply(response, 401, { 'WWW-Authenticate': `Bearer realm="${service.url}/token"` }),
    )
    const upstream = upstreamAt(registry.url, { tokenServiceHosts: [`127.0.0.1:${service.port}`] })
    expect(await ask(startClient(), upstream)).toMatchObject({ found: true })
    expect(service.requests[0]?.query.get('scope')).toBe('repository:team/app:pull')
  })
})

it('U25: another password is used at once, and the token of the old one no more', async () => {
  const registry = await startTokenRegistry({
    token: (request, _nth, response) =>
      giveToken(response, request.headers.authorization === rightBasic ? 'old' : 'new'),
  })
  const client = startClient()
  const before = upstreamAt(registry.url, { credentials })
  const after = upstreamAt(registry.url, { credentials: { ...credentials, password: 'rotated' } })
  await ask(client, before)
  await ask(client, after)
  client.retain([after])
  await ask(client, after)
  expect(asked(registry).map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    'Bearer old',
    undefined,
    'Bearer new',
    'Bearer new',
  ])
})
