import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, it } from 'vitest'
import {
  afterThisTest,
  ask,
  createCertificates,
  credentials,
  reply,
  startClient,
  startDouble,
  startRaw,
  upstreamAt,
} from './doubles.ts'

it('trusts the CA of the upstream, and with it no other', async () => {
  const own = createCertificates()
  const other = createCertificates()
  const registry = await startDouble((_request, response) => reply(response, 200, {}, 'ok'), {
    tls: own.issue(),
  })
  const client = startClient()
  expect(await ask(client, upstreamAt(registry.url, { tls: { ca: own.ca } }))).toMatchObject({ text: 'ok' })
  await expect(ask(client, upstreamAt(registry.url, { tls: { ca: other.ca } }))).rejects.toMatchObject({
    kind: 'unavailable',
  })
})

it('trusts the root certificates it was given, where the upstream has none', async () => {
  const own = createCertificates()
  const registry = await startDouble((_request, response) => reply(response, 200), { tls: own.issue() })
  const client = startClient({ rootCertificates: [own.ca] })
  expect(await ask(client, upstreamAt(registry.url))).toMatchObject({ found: true })
})

it('shows its client certificate to the upstream and to no host it is sent to', async () => {
  const { ca, issue } = createCertificates()
  const shown: Record<string, boolean> = {}
  const note = (name: string, response: Parameters<typeof reply>[0]) => {
    const socket = response.socket as unknown as { getPeerCertificate(): object }
    shown[name] = Object.keys(socket.getPeerCertificate()).length > 0
  }
  const tls = { ...issue(), ca, requestCert: true, rejectUnauthorized: false }
  const cdn = await startDouble(
    (_request, response) => {
      note('cdn', response)
      reply(response, 200, {}, 'ok')
    },
    { tls },
  )
  const registry = await startDouble(
    (_request, response) => {
      note('registry', response)
      reply(response, 307, { Location: `https://localhost:${cdn.port}/` })
    },
    { tls },
  )
  const { key, cert } = issue()
  const upstream = upstreamAt(registry.url, { tls: { ca, certificate: cert, key } })
  expect(await ask(startClient(), upstream)).toMatchObject({ text: 'ok' })
  expect(shown).toEqual({ registry: true, cdn: false })
})

it.each([{ ca: 'no PEM' }, { certificate: 'no PEM', key: 'canary' }])('does not ask with %j', async (tls) => {
  const upstream = upstreamAt('https://127.0.0.1:1', { tls })
  const error = await ask(startClient(), upstream).catch((reason: unknown) => reason)
  expect(error).toMatchObject({ name: 'UpstreamError', kind: 'blocked' })
  expect(String(error)).not.toContain('canary')
})

const faults: [
  what: string,
  issue: Parameters<ReturnType<typeof createCertificates>['issue']>[0],
  options: object,
][] = [
  ['an expired certificate', { expired: true }, {}],
  ['the certificate of another host', { names: 'DNS:other.example' }, {}],
  ['a self-signed certificate', { selfSigned: true }, {}],
  ['TLS 1.1', {}, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }],
]
it.each(faults)(
  'U38: %s is trouble; nothing is sent, and nothing in plain text',
  async (_what, issue, options) => {
    const certificates = createCertificates()
    const registry = await startDouble((_request, response) => reply(response, 200), {
      tls: { ...certificates.issue(issue), ...options },
    })
    const upstream = upstreamAt(registry.url, { credentials, tls: { ca: certificates.ca } })
    await expect(ask(startClient(), upstream)).rejects.toMatchObject({
      name: 'UpstreamError',
      kind: 'unavailable',
    })
    expect(registry.requests).toHaveLength(0)
    expect(registry.connections()).toBeLessThanOrEqual(2)
  },
)

it('U38: an unknown CA is trouble', async () => {
  const registry = await startDouble((_request, response) => reply(response, 200), {
    tls: createCertificates().issue(),
  })
  await expect(ask(startClient(), upstreamAt(registry.url))).rejects.toMatchObject({ kind: 'unavailable' })
  expect(registry.requests).toHaveLength(0)
})

it.each([
  ['that stalls', () => {}, 'timeout'],
  ['that is reset', (socket: Socket) => socket.resetAndDestroy(), 'unavailable'],
  ['that ends', (socket: Socket) => socket.end(), 'unavailable'],
  ['answered in plain text', (socket: Socket) => socket.write('HTTP/1.1 400 Bad\r\n\r\n'), 'unavailable'],
])('U38: a handshake %s is trouble', async (_what, answer, kind) => {
  const bytes: Buffer[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      bytes.push(Buffer.from(chunk))
      answer(socket)
    })
    afterThisTest(async () => void socket.destroy())
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  afterThisTest(async () => void server.close())
  const upstream = upstreamAt(`https://127.0.0.1:${(server.address() as AddressInfo).port}`, { credentials })
  await expect(ask(startClient({ limits: { connectMs: 400 } }), upstream)).rejects.toMatchObject({ kind })
  expect(Buffer.concat(bytes).toString('latin1')).not.toContain('HTTP/1.1')
})

it('U38: a body that ends without close_notify ends by close, and says so', async () => {
  const { ca, issue } = createCertificates()
  const registry = await startDouble(
    (_request, response) => {
      const socket = response.socket as Socket
      socket.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello', () => {
        const raw = (socket as unknown as { _handle: { _parentWrap?: Socket } })._handle._parentWrap ?? socket
        raw.destroy()
      })
    },
    { tls: issue() },
  )
  const answer = await ask(startClient(), upstreamAt(registry.url, { tls: { ca } })).catch(
    (error: unknown) => error,
  )
  expect(answer).toMatchObject({ headers: { endsByClose: true } })
})

it('U38: a token service with a bad certificate gets nothing, though the registry is fine', async () => {
  const good = createCertificates()
  const service = await startDouble((_request, response) => reply(response, 200, {}, '{"token":"x"}'), {
    tls: good.issue({ selfSigned: true }),
  })
  const registry = await startDouble(
    (_request, response) =>
      reply(response, 401, { 'WWW-Authenticate': `Bearer realm="${service.url}/token"` }),
    { tls: good.issue() },
  )
  const upstream = upstreamAt(registry.url, {
    credentials,
    tls: { ca: good.ca },
    tokenServiceHosts: [`127.0.0.1:${service.port}`],
  })
  await expect(ask(startClient(), upstream)).rejects.toMatchObject({ kind: 'unavailable' })
  expect(service.requests).toHaveLength(0)
})

it('U33: does not leave TLS by a redirect', async () => {
  const { ca, issue } = createCertificates()
  const plain = await startDouble((_request, response) => reply(response, 200))
  const registry = await startDouble((_request, response) => reply(response, 302, { Location: plain.url }), {
    tls: issue(),
  })
  await expect(ask(startClient(), upstreamAt(registry.url, { tls: { ca } }))).rejects.toMatchObject({
    kind: 'invalid-response',
  })
  expect(plain.connections()).toBe(0)
})

it('U38: three hundred bad handshakes leave no sockets behind', async () => {
  const registry = await startDouble((_request, response) => reply(response, 200), {
    tls: createCertificates().issue(),
  })
  const client = startClient()
  const upstream = upstreamAt(registry.url)
  for (let round = 0; round < 30; round++) {
    const attempts = Array.from({ length: 10 }, () =>
      ask(client, upstream).catch((error: { kind: string }) => error.kind),
    )
    expect(new Set(await Promise.all(attempts))).toEqual(new Set(['unavailable']))
  }
  const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length
  await expect.poll(sockets, { timeout: 5_000 }).toBeLessThan(10)
})

/** A proxy that opens tunnels: to `localhost` whatever the name, since names here are made up. */
async function startTunnel({ status = 200 } = {}) {
  const opened: { target: string; headers: string }[] = []
  const proxy = await startRaw((socket, head) => {
    const [, target = ''] = /^CONNECT (\S+) /.exec(head) ?? []
    opened.push({ target, headers: head })
    if (status !== 200) return socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`)
    const port = Number(target.split(':').at(-1))
    const far = connect(port, '127.0.0.1', () => {
      socket.removeAllListeners('data')
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(far).pipe(socket)
    })
    far.on('error', () => socket.destroy())
    socket.on('close', () => far.destroy())
    return undefined
  })
  return { proxy, opened }
}

it('goes through the proxy for https, by name, and past it where NO_PROXY says so', async () => {
  const { ca, issue } = createCertificates()
  const tls = issue({ names: 'DNS:hub.example.com,DNS:direct.example.com' })
  const registry = await startDouble((_request, response) => reply(response, 200, {}, 'ok'), { tls })
  const { proxy, opened } = await startTunnel()
  const client = startClient({
    proxyUrl: proxy.url.replace('//', '//user:canary-proxy@'),
    noProxy: 'direct.example.com',
    resolveHost: async () => [{ address: '127.0.0.1', family: 4 }],
  })
  const at = (host: string) => upstreamAt(`https://${host}:${registry.port}`, { credentials, tls: { ca } })
  expect(await ask(client, at('hub.example.com'))).toMatchObject({ text: 'ok' })
  expect(opened.map(({ target }) => target)).toEqual([`hub.example.com:${registry.port}`])
  expect(opened[0]?.headers).toMatch(/proxy-authorization: Basic/i)
  expect(opened[0]?.headers).not.toMatch(/^authorization:/im)
  expect(registry.requests[0]?.headers['proxy-authorization']).toBeUndefined()
  expect(await ask(client, at('direct.example.com'))).toMatchObject({ text: 'ok' })
  expect(opened).toHaveLength(1)
})

it('T18: asks the proxy for no literal address that is forbidden', async () => {
  const { proxy } = await startTunnel()
  const client = startClient({ proxyUrl: proxy.url })
  await expect(ask(client, upstreamAt('https://169.254.169.254'))).rejects.toMatchObject({ kind: 'blocked' })
  expect(proxy.connections()).toBe(0)
})

it.each([403, 407, 502])('a proxy that says %i is trouble', async (status) => {
  const { proxy } = await startTunnel({ status })
  const error = await ask(startClient({ proxyUrl: proxy.url }), upstreamAt('https://hub.example.com')).catch(
    (reason) => reason,
  )
  expect(error).toMatchObject({ name: 'UpstreamError', kind: 'unavailable' })
})

it('a proxy that is not there, or never answers, is trouble in time', async () => {
  const mute = await startRaw(() => {})
  for (const proxyUrl of [mute.url, 'http://127.0.0.1:1']) {
    const client = startClient({ proxyUrl, limits: { connectMs: 300 } })
    await expect(
      ask(client, upstreamAt('https://hub.example.com'), { firstByteMs: 1_500 }),
    ).rejects.toMatchObject({
      name: 'UpstreamError',
    })
  }
})
