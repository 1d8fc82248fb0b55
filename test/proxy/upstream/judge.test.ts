import { describe, expect, it } from 'vitest'
import { ask, createTold, reply, startClient, startDouble, startRaw, upstreamAt } from './doubles.ts'

describe('a yes', () => {
  it('gives the headers and the body as they came', async () => {
    const registry = await startDouble((_request, response) =>
      reply(
        response,
        200,
        {
          'Content-Type': 'application/vnd.oci.image.index.v1+json',
          'Docker-Content-Digest': 'sha256:abc',
          'Content-Length': '5',
          Link: '</v2/team/app/tags/list?n=1&last=a>; rel="next"',
          'OCI-Filters-Applied': 'artifactType',
          __proto__x: 'harmless',
        },
        'hello',
      ),
    )
    const told = createTold()
    const answer = await ask(startClient({ observer: told }), upstreamAt(`${registry.url}/mirror`), {
      accept: 'a/b, c/d',
    })
    expect(answer).toMatchObject({
      found: true,
      status: 200,
      text: 'hello',
      headers: {
        contentType: 'application/vnd.oci.image.index.v1+json',
        contentDigest: 'sha256:abc',
        size: 5,
        link: '</v2/team/app/tags/list?n=1&last=a>; rel="next"',
        filtersApplied: 'artifactType',
        endsByClose: false,
      },
    })
    expect(registry.requests[0]).toMatchObject({
      method: 'GET',
      path: '/mirror/v2/team/app/manifests/latest',
      headers: { accept: 'a/b, c/d', 'accept-encoding': 'identity', 'user-agent': 'headwater/0.0.0-test' },
    })
    expect(registry.requests[0]?.headers.authorization).toBeUndefined()
    expect(told.sent).toEqual([{ upstream: 'default/hub', method: 'GET', status: 200 }])
    expect(told.bytes).toBe(5)
  })

  it('of HEAD has the size and no body', async () => {
    const registry = await startDouble((_request, response) =>
      reply(response, 200, { 'Content-Length': '1234' }),
    )
    const answer = await ask(startClient(), upstreamAt(registry.url), { method: 'HEAD' })
    expect(answer).toMatchObject({ found: true, text: '', headers: { size: 1234, endsByClose: false } })
  })

  it('U35: of a range is the part that was asked for, with the size of the whole', async () => {
    const registry = await startDouble((_request, response) =>
      reply(response, 206, { 'Content-Range': 'bytes 3-9/10', 'Content-Length': '7' }, '3456789'),
    )
    const answer = await ask(startClient(), upstreamAt(registry.url), { rangeStart: 3 })
    expect(registry.requests[0]?.headers.range).toBe('bytes=3-')
    expect(answer).toMatchObject({ found: true, status: 206, text: '3456789', headers: { size: 10 } })
  })

  it('U12: whose body ends with the connection says so', async () => {
    const registry = await startRaw((socket) =>
      socket.end('HTTP/1.0 200 OK\r\nContent-Type: a/b\r\n\r\nhello'),
    )
    const answer = await ask(startClient(), upstreamAt(registry.url))
    expect(answer).toMatchObject({
      found: true,
      text: 'hello',
      headers: { size: undefined, endsByClose: true },
    })
  })
})

it.each([
  ['U26', 403],
  ['U27', 404],
  ['U7', 405],
  ['U22', 401],
  ['U27', 400],
  ['U27', 410],
  ['U27', 451],
])('%s: %i is a no', async (_row, status) => {
  const registry = await startDouble((_request, response) => reply(response, status, {}, 'no'))
  expect(await ask(startClient(), upstreamAt(registry.url))).toMatchObject({ found: false, status })
  expect(registry.requests).toHaveLength(1)
})

it('U7: 501 is a no to HEAD and trouble to GET', async () => {
  const registry = await startDouble((_request, response) => reply(response, 501))
  const client = startClient()
  expect(await ask(client, upstreamAt(registry.url), { method: 'HEAD' })).toMatchObject({ status: 501 })
  await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'unavailable' })
})

it.each([500, 502, 503, 504])('U4: %i is trouble, after it was asked twice', async (status) => {
  const registry = await startDouble((_request, response) => reply(response, status))
  const told = createTold()
  await expect(
    ask(startClient({ observer: told }), upstreamAt(registry.url), { method: 'HEAD' }),
  ).rejects.toMatchObject({
    kind: 'unavailable',
    status,
  })
  expect(told.sent.map((sent) => sent.status)).toEqual([status, status])
})

it('U5: a 500 of a GET is trouble and never a no', async () => {
  const registry = await startDouble((request, response) =>
    reply(response, request.method === 'HEAD' ? 200 : 500),
  )
  const client = startClient()
  expect(await ask(client, upstreamAt(registry.url), { method: 'HEAD' })).toMatchObject({ found: true })
  await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'unavailable' })
})

it.each([500, 502, 503, 504])('U6: one %i is asked again, once', async (status) => {
  const registry = await startDouble((_request, response) =>
    reply(response, registry.requests.length === 1 ? status : 200, {}, 'ok'),
  )
  expect(await ask(startClient(), upstreamAt(registry.url))).toMatchObject({ found: true, text: 'ok' })
  expect(registry.requests).toHaveLength(2)
})

it('U6: a 503 that says when to come again is not asked again before', async () => {
  const registry = await startDouble((_request, response) => reply(response, 503, { 'Retry-After': '9' }))
  await expect(ask(startClient(), upstreamAt(registry.url))).rejects.toMatchObject({ retryAfterSeconds: 9 })
  expect(registry.requests).toHaveLength(1)
})

it.each([
  ['120', 120],
  ['Fri, 02 Jan 2026 03:05:05 GMT', 60],
  ['0', 1],
  ['1000000000', 300],
  ['garbage', undefined],
  [undefined, undefined],
])('U29: 429 with Retry-After %j is asked once and waits %j seconds', async (value, retryAfterSeconds) => {
  const registry = await startDouble((_request, response) =>
    reply(response, 429, value === undefined ? {} : { 'Retry-After': value }),
  )
  const client = startClient({ now: () => Date.parse('2026-01-02T03:04:05Z') })
  await expect(ask(client, upstreamAt(registry.url))).rejects.toMatchObject({
    kind: 'rate-limited',
    status: 429,
    retryAfterSeconds,
  })
  expect(registry.requests).toHaveLength(1)
})

it('408 is a time that ran out', async () => {
  const registry = await startDouble((_request, response) => reply(response, 408))
  await expect(ask(startClient(), upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'timeout' })
})

const nonsense: [row: string, what: string, raw: string, rangeStart?: number][] = [
  [
    'U35',
    '206 without a range',
    'HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello',
  ],
  ['U35', '416', 'HTTP/1.1 416 No\r\nContent-Range: bytes */5\r\nContent-Length: 0\r\n\r\n', 9],
  ['U35', 'another part', 'HTTP/1.1 206 P\r\nContent-Range: bytes 2-4/5\r\nContent-Length: 3\r\n\r\nllo', 3],
  [
    'U35',
    'a part beyond the end',
    'HTTP/1.1 206 P\r\nContent-Range: bytes 3-5/5\r\nContent-Length: 3\r\n\r\nlo!',
    3,
  ],
  [
    'U35',
    'a part of another length',
    'HTTP/1.1 206 P\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 1\r\n\r\nl',
    3,
  ],
  ['U35', 'no Content-Range', 'HTTP/1.1 206 P\r\nContent-Length: 2\r\n\r\nlo', 3],
  [
    'U35',
    'two Content-Ranges',
    'HTTP/1.1 206 P\r\nContent-Range: bytes 3-4/5\r\nContent-Range: bytes 3-4/5\r\nContent-Length: 2\r\n\r\nlo',
    3,
  ],
  [
    'U35',
    'a multipart answer',
    'HTTP/1.1 206 P\r\nContent-Type: multipart/byteranges\r\nContent-Length: 2\r\n\r\nlo',
    3,
  ],
  ['U37', '204', 'HTTP/1.1 204 No Content\r\n\r\n'],
  ['U37', '205', 'HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n'],
  ['U37', '201', 'HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n'],
  ['U37', '300', 'HTTP/1.1 300 Choices\r\nContent-Length: 0\r\n\r\n'],
  ['U37', '304', 'HTTP/1.1 304 Not Modified\r\n\r\n'],
  ['U37', '302 without Location', 'HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n'],
  ['U37', '600', 'HTTP/1.1 600 What\r\nContent-Length: 0\r\n\r\n'],
  ['U37', 'a status line of garbage', '\u0000\u0001\u0002garbage\r\n\r\n'],
  ['U37', 'HTTP/0.9', '<html>hello</html>\r\n\r\n'],
  ['U37', 'an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
  ['U37', '101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n'],
  ['U37', '100', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'],
  ['U37', 'a flood of 103', 'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(5000)],
  ['U19', 'gzip', 'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\u001f\u008b'],
  [
    'U19',
    'a chain of encodings',
    `HTTP/1.1 200 OK\r\nContent-Encoding: ${'gzip,'.repeat(1000)}gzip\r\nContent-Length: 0\r\n\r\n`,
  ],
  [
    'U19',
    'two headers of encodings',
    'HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n',
  ],
  ['U19', 'a transfer encoding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n'],
  ['T13', 'two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
  [
    'T13',
    'a length and chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['T13', 'a length that is no number', 'HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\nhello'],
  ['T16', 'a head without end', `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\nContent-Length: 0\r\n\r\n`],
]
it.each(nonsense)('%s: %s is nonsense, and asked for once', async (_row, _what, raw, rangeStart) => {
  const registry = await startRaw((socket) => socket.write(raw, 'latin1'))
  await expect(ask(startClient(), upstreamAt(registry.url), { rangeStart })).rejects.toMatchObject({
    name: 'UpstreamError',
    kind: 'invalid-response',
  })
  expect(registry.heads).toHaveLength(1)
})

it('U17: two different Docker-Content-Digest headers are none', async () => {
  const registry = await startRaw((socket) =>
    socket.write(
      'HTTP/1.1 200 OK\r\nDocker-Content-Digest: sha256:a\r\nDocker-Content-Digest: sha256:b\r\n__proto__: x\r\nContent-Length: 0\r\n\r\n',
    ),
  )
  const answer = await ask(startClient(), upstreamAt(registry.url))
  expect(answer).toMatchObject({ found: true, headers: { contentDigest: undefined, size: 0 } })
})

it.each([
  ['tags/list?n=5&last=%2e%2e', true],
  ['tags/list?next=https://elsewhere/', true],
  ['../../other/manifests/x', false],
  ['manifests/../../../x', false],
  ['manifests/%2e%2e/%2e%2e/x', false],
  ['manifests/x#y', false],
])('U45: asks for %j below the repository or not at all', async (resource, asked) => {
  const registry = await startDouble((_request, response) => reply(response, 404))
  const outcome = ask(startClient(), upstreamAt(registry.url), { resource })
  if (asked) expect(await outcome).toMatchObject({ found: false, status: 404 })
  else await expect(outcome).rejects.toMatchObject({ kind: 'blocked' })
  expect(registry.requests).toHaveLength(asked ? 1 : 0)
})

it.each([{ problem: 'its Secret is missing' }, { mode: 'CacheOnly' as const }])(
  'does not ask with %j',
  async (fields) => {
    const registry = await startDouble((_request, response) => reply(response, 200))
    await expect(ask(startClient(), upstreamAt(registry.url, fields))).rejects.toMatchObject({
      kind: 'blocked',
    })
    expect(registry.requests).toHaveLength(0)
  },
)
