import fc from 'fast-check'
import { expect, it } from 'vitest'
import {
  ask,
  createTold,
  credentials,
  type Handler,
  reply,
  startClient,
  startDouble,
  startRaw,
  upstreamAt,
} from './doubles.ts'

const resource = `blobs/sha256:${'a'.repeat(64)}`

it.each([301, 302, 303, 307, 308])(
  'U31: %i leads to a CDN, without Authorization and with the same method',
  async (status) => {
    const cdn = await startDouble((request, response) => {
      const signedTwice = request.headers.authorization !== undefined && request.query.has('X-Amz-Signature')
      reply(response, signedTwice ? 400 : 200, {}, request.method === 'HEAD' ? '' : 'bytes')
    })
    const registry = await startDouble((request, response) =>
      request.headers.authorization === undefined
        ? reply(response, 401, { 'WWW-Authenticate': 'Basic realm="x"' })
        : reply(response, status, { Location: `${cdn.url}/b?X-Amz-Signature=canary-query` }),
    )
    const client = startClient()
    const upstream = upstreamAt(registry.url, { credentials })
    expect(await ask(client, upstream, { resource, rangeStart: undefined })).toMatchObject({
      found: true,
      text: 'bytes',
    })
    expect(await ask(client, upstream, { resource, method: 'HEAD' })).toMatchObject({ found: true })
    expect(cdn.requests.map(({ method }) => method)).toEqual(['GET', 'HEAD'])
    for (const { headers } of cdn.requests) {
      expect(headers.authorization).toBeUndefined()
      expect(headers.cookie).toBeUndefined()
      expect(headers['accept-encoding']).toBe('identity')
    }
  },
)

it('U31: a redirect on the same origin keeps Authorization', async () => {
  const registry = await startDouble((request, response) => {
    if (request.headers.authorization === undefined)
      return reply(response, 401, { 'WWW-Authenticate': 'Basic realm="x"' })
    return request.path === '/elsewhere'
      ? reply(response, 200, {}, 'ok')
      : reply(response, 307, { Location: '/elsewhere#f' })
  })
  expect(await ask(startClient(), upstreamAt(registry.url, { credentials }))).toMatchObject({
    found: true,
    text: 'ok',
  })
})

it.each([
  [1, 'yes'],
  [5, 'yes'],
  [6, 'invalid-response'],
  [50, 'invalid-response'],
])('U32: a chain of %i redirects is a %s', async (length, outcome) => {
  const registry = await startDouble((request, response) => {
    const hop = Number(request.query.get('hop') ?? 0)
    return hop === length
      ? reply(response, 200, {}, 'end')
      : reply(response, 302, { Location: `/x?hop=${hop + 1}` })
  })
  const answer = ask(startClient(), upstreamAt(registry.url))
  if (outcome === 'yes') expect(await answer).toMatchObject({ found: true, text: 'end' })
  else await expect(answer).rejects.toMatchObject({ kind: outcome })
  expect(registry.requests.length).toBe(Math.min(length, 5) + 1)
})

it('U32: a redirect to itself ends', async () => {
  const registry = await startDouble((request, response) => reply(response, 302, { Location: request.path }))
  await expect(ask(startClient(), upstreamAt(registry.url))).rejects.toMatchObject({
    kind: 'invalid-response',
  })
  expect(registry.requests).toHaveLength(6)
})

it.each([
  ['file:', ['file:///etc/passwd'], 'invalid-response'],
  ['ftp:', ['ftp://example.com/x'], 'invalid-response'],
  ['an empty one', [''], 'invalid-response'],
  ['none', [], 'invalid-response'],
  ['two', ['/a', '/b'], 'invalid-response'],
  ['userinfo', ['http://user:canary@TARGET/'], 'invalid-response'],
  ['10 KiB', [`/${'x'.repeat(10_000)}`], 'invalid-response'],
  ['100 KiB', [`/${'x'.repeat(100_000)}`], 'invalid-response'],
  ['no URL', ['http://[::1'], 'invalid-response'],
  ['link-local', ['http://169.254.169.254/latest/meta-data'], 'blocked'],
  ['link-local in decimal', ['http://2852039166/'], 'blocked'],
  ['link-local in hex', ['http://0xa9fea9fe/'], 'blocked'],
  ['link-local in octal', ['http://0251.0376.0251.0376/'], 'blocked'],
  ['link-local in IPv6', ['http://[::ffff:169.254.169.254]/'], 'blocked'],
  ['link-local over NAT64', ['http://[64:ff9b::a9fe:a9fe]/'], 'blocked'],
  ['link-local by name', ['http://metadata.test/'], 'blocked'],
  ['IPv6 metadata', ['http://[fd00:ec2::254]/'], 'blocked'],
  ['unspecified', ['http://0.0.0.0:PORT/'], 'blocked'],
])('U33: does not follow a redirect to %s', async (_what, locations, kind) => {
  const target = await startDouble((_request, response) => reply(response, 200, {}, 'secret'))
  const lines = locations
    .map((location) =>
      location.replace('TARGET', `127.0.0.1:${target.port}`).replace('PORT', String(target.port)),
    )
    .map((location) => `Location: ${location}\r\n`)
  const registry = await startRaw((socket) =>
    socket.write(`HTTP/1.1 302 Found\r\n${lines.join('')}Content-Length: 0\r\n\r\n`),
  )
  const client = startClient({ resolveHost: async () => [{ address: '169.254.169.254', family: 4 }] })
  await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({ kind })
  expect(target.connections()).toBe(0)
})

it('U34: an address that expired is asked of the registry again, once', async () => {
  const cdn = await startDouble((request, response) =>
    request.query.get('ticket') === '1'
      ? reply(response, 403, {}, '<Error>expired</Error>')
      : reply(response, 200, {}, 'bytes'),
  )
  const registry = await startDouble((_request, response) =>
    reply(response, 307, { Location: `${cdn.url}/b?ticket=${registry.requests.length}` }),
  )
  expect(await ask(startClient(), upstreamAt(registry.url), { resource })).toMatchObject({
    found: true,
    text: 'bytes',
  })
  expect(registry.requests).toHaveLength(2)
})

it.each([
  ['U34', 403, resource, 2],
  ['U34', 401, resource, 2],
  ['U34', 404, resource, 1],
  ['U34', 403, 'manifests/latest', 2],
])('%s: %i from a CDN for %s is trouble, never a no', async (_row, status, asked, times) => {
  const cdn = await startDouble((_request, response) => reply(response, status, {}, '<Error/>'))
  const registry = await startDouble((_request, response) =>
    reply(response, 307, { Location: `${cdn.url}/b` }),
  )
  await expect(ask(startClient(), upstreamAt(registry.url), { resource: asked })).rejects.toMatchObject({
    kind: 'unavailable',
    status,
  })
  expect(registry.requests).toHaveLength(times)
})

it('a registry that is a front of another passes on its 404 of a manifest', async () => {
  const behind = await startDouble((_request, response) => reply(response, 404))
  const registry = await startDouble((_request, response) =>
    reply(response, 307, { Location: `${behind.url}/m` }),
  )
  expect(await ask(startClient(), upstreamAt(registry.url))).toMatchObject({ found: false, status: 404 })
})

it('T2: Authorization reaches the upstream alone, and is not restored once another origin was visited', async () => {
  type Hop = 'own' | 'other' | 'third'
  const paths = new Map<string, Hop[]>()
  const visit =
    (here: Hop): Handler =>
    (request, response) => {
      const [, chain = '', at = ''] = /^\/chain(\d+)\/(\d+)$/.exec(request.path) ?? []
      if (chain === '') {
        if (request.headers.authorization === undefined)
          return reply(response, 401, { 'WWW-Authenticate': 'Basic realm="x"' })
      } else seen.push({ here, authorization: request.headers.authorization })
      const name = chain === '' ? current : chain
      const next = chain === '' ? 0 : Number(at) + 1
      const hop = paths.get(name)?.[next]
      return hop === undefined
        ? reply(response, 200)
        : reply(response, 302, { Location: `${urls[hop]}/chain${name}/${next}` })
    }
  let seen: { here: Hop; authorization: string | undefined }[] = []
  let current = '0'
  const own = await startDouble(visit('own'))
  const other = await startDouble(visit('other'))
  const third = await startDouble(visit('third'))
  const urls = { own: own.url, other: other.url, third: third.url.replace('127.0.0.1', 'localhost') }
  const client = startClient()
  const upstream = upstreamAt(own.url, { credentials })

  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom<Hop>('own', 'other', 'third'), { maxLength: 5 }),
      async (chain) => {
        current = String(Number(current) + 1)
        paths.set(current, chain)
        seen = []
        expect(await ask(client, upstream)).toMatchObject({ found: true })
        const left = chain.findIndex((hop) => hop !== 'own')
        expect(seen.map(({ here }) => here)).toEqual(chain)
        expect(seen.map(({ authorization }) => authorization !== undefined)).toEqual(
          chain.map((_hop, at) => left === -1 || at < left),
        )
      },
    ),
    { numRuns: 100 },
  )
})

it('I8: tells of every hop', async () => {
  const cdn = await startDouble((_request, response) => reply(response, 200, {}, 'ok'))
  const registry = await startDouble((_request, response) => reply(response, 307, { Location: cdn.url }))
  const told = createTold()
  await ask(startClient({ observer: told }), upstreamAt(registry.url))
  expect(told.sent.map(({ status }) => status)).toEqual([307, 200])
})
